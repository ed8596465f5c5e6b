package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/supervise"
)

// Stop takes the cluster away, whatever state it is in: pods, daemons, rules,
// links, mounts, cgroups, files. What it cannot take away is the error.
func (c *Cluster) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	own, err := c.own()
	if err != nil {
		return err
	}
	if len(own) == 0 {
		return c.nothing()
	}
	mine := &Cluster{Options: c.Options, nodes: own}
	// A step that fails keeps no other from its work, and no other node: it
	// may fail every time.
	errs := []error{mine.each(func(n *Node) error {
		n.failed = n.stop(ctx)
		return n.failed
	})}
	if c.Nodes > 0 {
		for _, n := range own {
			err := c.detach(n)
			n.failed = errors.Join(n.failed, err)
			errs = append(errs, err)
		}
		errs = append(errs, removeLink(c.bridge()))
	}
	mine.removePods()
	// The first node's record is the last to go: it knows what is above them
	// all, and what is no single node's.
	for i, n := range slices.Backward(own) {
		if i == 0 {
			n.failed = errors.Join(append(errs, n.failed)...)
		}
		if err := n.clean(); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", n.Name, err))
		}
	}
	return errors.Join(append(errs, mine.residue())...)
}

// own are the nodes that have a record of this cluster. Whatever else is at
// their places is somebody else's.
func (c *Cluster) own() ([]*Node, error) {
	var own []*Node
	for _, n := range c.nodes {
		r, err := host.ReadRecord(n.root)
		if err != nil {
			return nil, err
		}
		if !r.Kept() {
			continue
		}
		if r.Cluster != "" && r.Cluster != c.Name {
			c.Progress.Done("%s: nothing to take away of a cluster %q: this machine's node is of %q", n.Name, c.Name, r.Cluster)
			continue
		}
		n.hadPods = r.KubePods
		own = append(own, n)
	}
	return own, nil
}

// kubePods is host.KubePods, but for tests.
var kubePods = host.KubePods

// removePods takes away what a kubelet that was started by hand, and was given
// no cgroup, has left of its pods' cgroups. They stay where anything may be
// another's: somebody else's kubelet does not make them again.
func (c *Cluster) removePods() {
	if slices.ContainsFunc(c.nodes, func(n *Node) bool { return n.hadPods }) || len(host.Cgroups(kubePods)) == 0 {
		return
	}
	if why := c.podsOfOthers(); why != "" {
		c.Progress.Done("cgroup %s stays: %s", kubePods, why)
		return
	}
	host.RemoveEmptyCgroup(kubePods)
	if left := host.Cgroups(kubePods); len(left) > 0 {
		c.Progress.Done("cgroup %s stays: not empty at %s", kubePods, strings.Join(left, ", "))
	}
}

// podsOfOthers says why pods' cgroups may be another kubelet's; nothing when
// they are not. One that is just restarting is told by its files.
func (c *Cluster) podsOfOthers() string {
	if pids := host.CgroupProcesses(kubePods); len(pids) > 0 {
		return fmt.Sprintf("process %d is in it", pids[0])
	}
	kubelets, err := host.Kubelets()
	if err != nil {
		return err.Error()
	}
	if len(kubelets) > 0 {
		return fmt.Sprintf("another kubelet runs, process %d", kubelets[0])
	}
	for _, n := range c.nodes {
		if r, err := host.ReadRecord(n.root); err == nil && r.MadeDir(layout.Kubelet) {
			return "" // the machine's kubelet is the node's own
		}
	}
	if files, err := os.ReadDir(layout.Kubelet); err == nil && len(files) > 0 {
		return "another kubelet has its files in " + layout.Kubelet
	}
	return ""
}

// stop ends everything of the node that runs.
func (n *Node) stop(ctx context.Context) error {
	state := n.root.Path(host.State)
	socket := supervise.Socket(state)
	// Without its kubelet nothing starts a pod again; without a supervisor
	// nothing starts a daemon again.
	var errs []error
	if n.systemdRuns() {
		errs = append(errs, n.stopUnit(ctx, certsTimer), n.stopUnit(ctx, "kubelet.service"))
	} else if err := supervise.Ask(socket, "stop kubelet"); err != nil {
		n.endSupervisor()
		n.end("kubelet")
	}
	n.progress.Done("%s: kubelet stopped", n.Name)
	if _, err := os.Stat(n.Socket()); err == nil {
		if err := bootstrap.RemovePods(ctx, n.Socket()); err != nil {
			// What is left of them is ended below by their cgroups.
			n.progress.Done("%s: pods were not removed in order: %v", n.Name, err)
		} else {
			n.progress.Done("%s: pods removed", n.Name)
		}
	}
	errs = append(errs, n.cleanRules(ctx))
	if n.systemdRuns() {
		errs = append(errs, n.stopUnit(ctx, runtimeUnit))
	} else if err := supervise.Ask(socket, "stop"); err != nil {
		n.endSupervisor()
		n.end("containerd")
	}
	n.progress.Done("%s: containerd stopped", n.Name)
	shims, err := host.Shims(n.Socket())
	errs = append(errs, err)
	for _, pid := range shims {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	cgroup := n.cgroup
	if n.systemdRuns() {
		cgroup = "/kubepods.slice"
		// A slice whose cgroup goes behind systemd's back stays active there, and
		// the next kubelet is not given one.
		if systemctl(ctx, "is-active", "--quiet", "kubepods.slice") == nil {
			errs = append(errs, systemctl(ctx, "stop", "kubepods.slice"))
		}
	}
	errs = append(errs, host.RemoveCgroup(cgroup))
	return errors.Join(errs...)
}

// cleanRules removes kube-proxy's rules from the node's network; those of a
// namespace go with it, but conntrack's entries and others' eyes are spared.
func (n *Node) cleanRules(ctx context.Context) error {
	proxy := filepath.Join(n.bin, "kube-proxy")
	if _, err := os.Stat(proxy); err != nil || n.NetNS != "" {
		return nil
	}
	out, err := n.Command(ctx, proxy, "--cleanup").CombinedOutput()
	if err != nil {
		return fmt.Errorf("kube-proxy --cleanup: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (n *Node) endSupervisor() {
	raw, err := os.ReadFile(n.root.Path(host.State + "/supervisor.pid"))
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return
	}
	// The id may be another's by now: its words tell.
	if cmd, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(cmd), "--root-dir="+string(n.root)+"\x00") {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// end ends a daemon without its supervisor.
func (n *Node) end(daemon string) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		pid := n.Pid(daemon)
		if pid == 0 {
			return
		}
		sig := syscall.SIGTERM
		if time.Now().After(deadline) {
			sig = syscall.SIGKILL
		}
		_ = syscall.Kill(pid, sig) // it may have ended
	}
}

// clean removes the node's files, mounts and links. Its record stays when
// anything has failed, and so does its root: down can be repeated.
func (n *Node) clean() error {
	var errs []error
	for _, d := range []string{host.State, host.Data + "/containerd", layout.Kubelet} {
		errs = append(errs, host.Unmount(n.root.Path(d)))
	}
	r, err := host.ReadRecord(n.root)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	n.before = r.Before
	made := n.root.Own() && r.MadeDir(string(n.root))
	if made {
		errs = append(errs, host.Unmount(string(n.root)))
	}
	errs = append(errs, n.removeNetwork(r), host.RemoveTraces(n.root))
	for _, d := range append(host.NodeFiles(), host.State, host.Logs, host.Data+"/containerd") {
		// Only what was made here: a directory that was there before stays.
		if r.MadeDir(n.root.Path(d)) {
			errs = append(errs, host.RemoveTree(n.root.Path(d)))
		}
	}
	for _, f := range kubeconfigs {
		if err := os.Remove(n.root.Path(f)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	err = errors.Join(append(errs, r.Restore(n.running...))...)
	if n.failed = errors.Join(n.failed, err); n.failed != nil {
		n.progress.Done("%s: some of it is left; its record stays, so that `make down` can try again", n.Name)
		return err
	}
	if err := r.Forget(); err != nil {
		return err
	}
	// A root that was made for the node has nothing of anybody else.
	if made {
		if err := host.RemoveTree(string(n.root)); err != nil {
			return err
		}
		r.RemoveDirs()
	}
	n.progress.Done("%s: files and mounts removed", n.Name)
	return nil
}

// removeNetwork removes what was not there before the node was: links of those
// a pod network makes, empty tables of iptables.
func (n *Node) removeNetwork(r *host.Record) error {
	if n.NetNS != "" || r.Before == nil {
		return nil
	}
	links, err := host.Links()
	errs := []error{err}
	for _, l := range links {
		if !slices.Contains(r.Before.Links, l) && host.PodLink(l) {
			errs = append(errs, removeLink(l))
		}
	}
	return errors.Join(append(errs, r.Before.RemoveShells())...)
}

// residue looks for what is left, with its own eyes.
func (c *Cluster) residue() error {
	var left []string
	for _, n := range c.nodes {
		found, err := n.residue()
		if err != nil {
			return err
		}
		left = append(left, found...)
	}
	if len(left) > 0 {
		return fmt.Errorf("these are left: %s", strings.Join(left, "; "))
	}
	if slices.ContainsFunc(c.nodes, func(n *Node) bool { return n.failed != nil }) {
		return nil // what has failed tells of itself
	}
	c.Progress.Done("nothing is left: no process, mount, network namespace, link, rule, cgroup or file")
	return nil
}

func (n *Node) residue() ([]string, error) {
	var left []string
	add := func(kind string, names ...string) {
		for _, s := range names {
			left = append(left, kind+" "+s)
		}
	}
	for _, d := range []string{host.State, host.Data, layout.Kubelet, layout.Etcd} {
		mounts, err := host.Mounts(n.root.Path(d))
		if err != nil {
			return nil, err
		}
		add("mount", mounts...)
	}
	shims, err := host.Shims(n.Socket())
	if err != nil {
		return nil, err
	}
	for _, s := range shims {
		add("process", strconv.Itoa(s))
	}
	add("cgroup", host.Cgroups(n.cgroup)...)
	data := host.Data
	if n.failed != nil {
		data += "/containerd" // the record is beside it, and stays
	}
	for _, f := range []string{host.State, data, layout.Etcd + "/member", layout.Kubernetes + "/manifests", layout.AdminConf, layout.Kubelet + "/config.yaml"} {
		if _, err := os.Stat(n.root.Path(f)); err == nil {
			add("file", n.root.Path(f))
		}
	}
	if n.NetNS != "" {
		if _, err := os.Stat("/run/netns/" + n.NetNS); err == nil {
			add("network namespace", n.NetNS)
		}
		return left, nil
	}
	more, err := n.before.Left()
	left = append(left, more...)
	return left, err
}

// membersThere is the number of the last node that has a record below a root.
func membersThere(root string) (int, error) {
	names, err := os.ReadDir(root)
	if err != nil {
		return 0, nil // there is none
	}
	last := 0
	for _, name := range names {
		number, ok := strings.CutPrefix(name.Name(), "n")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n > maxNodes {
			continue
		}
		r, err := host.ReadRecord(layout.Root(filepath.Join(root, name.Name())))
		if err != nil {
			return 0, err
		}
		if r.Kept() {
			last = max(last, n)
		}
	}
	return last, nil
}

// Found is a cluster that was started by another process: its nodes are those
// whose records are there, below the root that is given or the usual one.
func Found(o Options) (*Cluster, error) {
	given := o.Root
	if err := o.defaults(); err != nil {
		return nil, err
	}
	below := o.Root
	if given == "" {
		below = usualRoot(o.Name)
	}
	n, err := membersThere(below)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		// A cluster goes as a whole: without its link the others are of no use.
		o.Nodes, o.Root = max(o.Nodes, n), below
	}
	if o.Nodes == 0 && o.Address == "" {
		// What is taken away needs no address, and the machine may have lost its own.
		o.Address = netip.IPv4Unspecified().String()
	}
	return New(o)
}
