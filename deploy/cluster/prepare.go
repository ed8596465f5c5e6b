package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/supervise"
)

// settings of the kernel that a node needs, in its network namespace.
var settings = [][2]string{{"net/ipv4/ip_forward", "1"}, {"net/ipv6/conf/all/forwarding", "1"}}

// machineSettings are the whole machine's: one watcher a pod is a lot of them.
var machineSettings = [][2]string{{"fs/inotify/max_user_instances", "8192"}, {"fs/inotify/max_user_watches", "524288"}}

// proxySettings are those that kube-proxy changes, in one mode or another.
var proxySettings = []string{"net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_tcp_timeout_established", "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
	"net/netfilter/nf_conntrack_udp_timeout", "net/netfilter/nf_conntrack_udp_timeout_stream", "net/netfilter/nf_conntrack_tcp_be_liberal",
	"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables",
	"net/ipv4/conf/all/route_localnet", "net/ipv4/conf/all/arp_ignore", "net/ipv4/conf/all/arp_announce",
	"net/ipv4/vs/conntrack", "net/ipv4/vs/expire_nodest_conn", "net/ipv4/vs/expire_quiescent_template", "net/ipv4/vs/conn_reuse_mode"}

// ErrUp says that there is nothing to start.
var ErrUp = errors.New("it is up already; `make down` takes it down")

// ErrUnfit says that nothing was begun.
var ErrUnfit = errors.New("nothing was started")

// ErrTakenDown says that somebody has, and that nothing more will come.
var ErrTakenDown = errors.New("the cluster was taken down while it was brought up")

// ErrTaken says that the machine is another's.
var ErrTaken = errors.New("this machine is a node already. `make down` takes down what `make up` made; `xebecadm reset` other nodes")

// begin writes down that the nodes are this cluster's, before anything is made
// that only a record lets somebody take away again. Where one of them cannot be
// a node, nothing is written for any.
func (c *Cluster) begin(nodes ...*Node) error {
	for _, n := range nodes {
		if err := n.vacant(); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	for _, n := range nodes {
		r, err := host.ReadRecord(n.root)
		if err == nil {
			err = r.Keep(c.Name)
		}
		if err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	return nil
}

// prepare makes a machine a node but for Kubernetes: kernel settings,
// directories, container runtime.
func (n *Node) prepare(ctx context.Context, c *Cluster) error {
	r, err := host.ReadRecord(n.root)
	if err != nil {
		return err
	}
	if n.NetNS == "" {
		if err := errors.Join(r.Look(), r.Note(proxySettings...), n.routes(r, c.ServiceCIDR)); err != nil {
			return err
		}
	}
	if err := n.set(ctx, r); err != nil {
		return err
	}
	if err := n.directories(r, c.Ephemeral); err != nil {
		return err
	}
	if err := n.runtimeConfig(r, c); err != nil {
		return err
	}
	if n.systemdRuns() {
		err = n.startUnits(ctx, r)
	} else if err = host.MakeCgroup(n.cgroup); err == nil {
		err = n.startSupervisor()
	}
	if err != nil {
		return err
	}
	if err := n.waitRuntime(ctx); err != nil {
		return err
	}
	n.progress.Done("%s: containerd runs", n.Name)
	return nil
}

// vacant refuses a machine on which another Kubernetes lives, or has left what
// this one would write over.
func (n *Node) vacant() error {
	if supervise.Ask(supervise.Socket(n.root.Path(host.State)), "status") == nil {
		return ErrUp
	}
	there := slices.Concat([]string{layout.Etcd + "/member"}, kubeconfigs)
	if manifests, err := os.ReadDir(n.root.Path(layout.Manifests)); err == nil && len(manifests) > 0 {
		there = append(there, layout.Manifests+"/"+manifests[0].Name())
	}
	for _, f := range there {
		if _, err := os.Stat(n.root.Path(f)); err == nil {
			return fmt.Errorf("%s is there: %w", n.root.Path(f), ErrTaken)
		}
	}
	return nil
}

// routes makes Services' addresses reachable on a machine that has no default
// route. Those of the family that the node has no address of are of no use.
func (n *Node) routes(r *host.Record, services string) error {
	own, err := netip.ParseAddr(n.Address)
	if err != nil {
		return fmt.Errorf("address of the node: %w", err)
	}
	for s := range strings.SplitSeq(services, ",") {
		if p, err := netip.ParsePrefix(strings.TrimSpace(s)); err != nil || p.Addr().Is4() != own.Is4() {
			continue // xebecadm says what is wrong with it
		}
		if err := r.Route(strings.TrimSpace(s), n.Address); err != nil {
			return err
		}
	}
	return nil
}

// kubeconfigs are the files of a node's users.
var kubeconfigs = []string{layout.AdminConf, layout.SuperAdminConf, layout.KubeletConf, layout.BootstrapKubeletConf, layout.ControllerManagerConf, layout.SchedulerConf}

func (n *Node) set(ctx context.Context, r *host.Record) error {
	for _, s := range machineSettings {
		now, err := os.ReadFile("/proc/sys/" + s[0])
		if err != nil {
			continue // not on this kernel
		}
		var have, want int
		_, _ = fmt.Sscan(string(now), &have)
		_, _ = fmt.Sscan(s[1], &want)
		if have < want {
			if err := r.Set(s[0], s[1]); err != nil {
				n.progress.Done("%s: %s stays %d: %v", n.Name, s[0], have, err)
			}
		}
	}
	for _, s := range settings {
		if n.NetNS == "" {
			if err := r.Set(s[0], s[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			continue
		}
		// A namespace's settings go with it.
		cmd := n.Command(ctx, "sh", "-c", fmt.Sprintf("[ ! -e /proc/sys/%s ] || echo %s > /proc/sys/%s", s[0], s[1], s[0]))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("set %s: %w: %s", s[0], err, out)
		}
	}
	return nil
}

// resolvConf of a node in a namespace: the machine's resolver is not reached
// from there. Nobody answers at the gateway either, but at once.
const resolvConf = "/etc/xebec/resolv.conf"

// kubeletConfig is laid over kubeadm's: the machine's disk is shared with
// everything else that is on it, so that evictions begin late, and unused
// images, which nobody could pull again, stay.
const kubeletConfig = "/etc/xebec/kubelet.yaml"

const kubeletConfigText = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard:
  imagefs.available: 2%
  memory.available: 100Mi
  nodefs.available: 2%
  nodefs.inodesFree: 2%
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
`

// ephemeralConfigText is that of clusters that are thrown away: a share of a
// large disk that is nearly full would have their pods evicted for nothing.
const ephemeralConfigText = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard:
  imagefs.available: 100Mi
  memory.available: 100Mi
  nodefs.available: 100Mi
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
`

func (n *Node) directories(r *host.Record, ephemeral bool) error {
	config := kubeletConfigText
	if ephemeral {
		config = ephemeralConfigText
	}
	if err := r.WriteFile(n.root.Path(kubeletConfig), []byte(config), 0o644); err != nil {
		return err
	}
	if n.NetNS != "" {
		if err := r.WriteFile(n.root.Path(resolvConf), []byte("nameserver "+n.gateway+"\n"), 0o644); err != nil {
			return err
		}
	}
	for _, d := range []string{host.State, host.Logs, layout.Kubernetes, layout.PodLogs, layout.ContainerLogs, layout.CNIBin, layout.CNIConf, host.Registries} {
		if err := r.MkdirAll(n.root.Path(d), 0o755); err != nil {
			return err
		}
	}
	if err := r.MkdirAll(n.root.Path(layout.Etcd), 0o700); err != nil {
		return err
	}
	if err := r.Share(n.root.Path(layout.Kubelet)); err != nil {
		return err
	}
	plugins, err := filepath.Glob(filepath.Join(n.bin, "cni", "*"))
	if err != nil {
		return err
	}
	for _, p := range append(plugins, filepath.Join(n.bin, "xebec-bridge")) {
		to := filepath.Join(n.root.Path(layout.CNIBin), filepath.Base(p))
		if _, err := os.Stat(to); err == nil && !r.Made(to) {
			continue // the machine's own
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return fmt.Errorf("network plugins: %w; `make build tools` makes them", err)
		}
		if err := r.WriteFile(to, raw, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) runtimeConfig(r *host.Record, c *Cluster) error {
	images := &kubeadm.ClusterConfiguration{}
	images.Default()
	conf := &host.Containerd{Major: n.containerdMajor(), Root: n.root, Pause: images.Image("pause"), Bin: n.bin, Systemd: n.systemdRuns(),
		RestrictOOM: host.RestrictOOM(), CNIBin: []string{n.root.Path(layout.CNIBin)}, NoSync: c.Ephemeral}
	raw, err := conf.Config()
	if err != nil {
		return err
	}
	if err := r.WriteFile(n.root.Path(host.RuntimeConf), raw, 0o644); err != nil {
		return err
	}
	template := host.Network(n.root)
	if c.Reference {
		template = host.ReferenceNetwork(n.root)
	}
	if err := r.Expect(n.root.Path(host.NetworkConf)); err != nil {
		return err
	}
	return r.WriteFile(n.root.Path(host.NetworkTemplate), template, 0o644)
}

func (n *Node) containerdMajor() int {
	out, err := exec.Command(filepath.Join(n.bin, "containerd"), "--version").Output()
	if err == nil && (bytes.Contains(out, []byte(" v1.")) || bytes.Contains(out, []byte(" 1."))) {
		return 1
	}
	return 2
}

// startSupervisor starts the program that keeps containerd and the kubelet.
func (n *Node) startSupervisor() error {
	log, err := os.OpenFile(n.root.Path(host.Logs+"/supervisor.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := n.Command(context.Background(), filepath.Join(n.bin, "xebec-up"), "node", "--root-dir="+string(n.root), "--bin="+n.bin)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // reaped; its log says how it ended
	return os.WriteFile(n.root.Path(host.State+"/supervisor.pid"), fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o644)
}

func (n *Node) waitRuntime(ctx context.Context) error {
	return n.progress.until(ctx, n.Name+": containerd", func(ctx context.Context) error {
		conn, err := net.Dial("unix", n.Socket())
		if err != nil {
			return errors.Join(err, lastLine(n.Log("containerd")))
		}
		conn.Close()
		return bootstrap.RuntimeReady(ctx, n.Socket())
	})
}

// until repeats something until it succeeds, telling the last error.
func (p *Progress) until(ctx context.Context, what string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	begun := time.Now()
	var last error
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		// That the time is up says nothing of why.
		if last != nil && ctx.Err() != nil {
			err = last
		}
		last = err
		if time.Since(begun) > time.Second {
			p.Wait("%s: %v", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not after %s: %w", what, time.Since(begun).Round(time.Second), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// lastLine is the end of a log as an error, to be told with another.
func lastLine(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return errors.New(lines[len(lines)-1])
}

// early are the images that a control plane starts with; the others are
// imported while it does.
var early = []string{"pause", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// images are the archives, the early ones or the others.
func (n *Node) images(first bool) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(n.bin, "images", "*.tar"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, fmt.Errorf("there are no images in %s; `make images` makes them", filepath.Join(n.bin, "images")))
	}
	return slices.DeleteFunc(files, func(f string) bool {
		name, _, _ := strings.Cut(filepath.Base(f), "_")
		return slices.Contains(early, name) != first
	}), nil
}

// importImages gives the runtime images that were built here.
func (n *Node) importImages(ctx context.Context, files []string) error {
	begun := time.Now()
	// One at a time per processor: import is bound by them.
	slots := make(chan struct{}, runtime.NumCPU())
	results := make(chan error, len(files))
	for _, f := range files {
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			args := []string{"-a", n.Socket(), "-n", "k8s.io", "images", "import", "--snapshotter=overlayfs"}
			if n.containerdMajor() >= 2 {
				args = append(args, "--local") // by the client: half the work of the server's way
			}
			out, err := exec.CommandContext(ctx, filepath.Join(n.bin, "ctr"), append(args, f)...).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("import %s: %w: %s", f, err, out)
			}
			results <- err
		}()
	}
	var errs []error
	for range files {
		errs = append(errs, <-results)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	n.progress.Done("%s: %d images imported in %s", n.Name, len(files), time.Since(begun).Round(10*time.Millisecond))
	return nil
}

// importing are the images of all nodes that are still on their way.
type importing struct{ done chan error }

// startImports imports what the first node's control plane starts with, and
// begins with everything else.
func (c *Cluster) startImports(ctx context.Context) (*importing, error) {
	first, err := c.nodes[0].images(true)
	if err != nil {
		return nil, err
	}
	if err := c.nodes[0].importImages(ctx, first); err != nil {
		return nil, err
	}
	i := &importing{make(chan error, 1)}
	go func() {
		i.done <- c.each(func(n *Node) error {
			files, err := n.images(false)
			if err == nil && n != c.nodes[0] {
				files = append(first[:len(first):len(first)], files...)
			}
			if err != nil {
				return err
			}
			return n.importImages(ctx, files)
		})
	}()
	return i, nil
}

// adm runs xebecadm on the node. Its lines are progress; the end of them is
// the error when it fails.
func (n *Node) adm(ctx context.Context, args ...string) error {
	begun := time.Now()
	verb := strings.TrimPrefix(strings.Join(args[:min(3, len(args))], " "), "init phase ")
	if args[0] != "init" || args[1] != "phase" {
		verb = args[0]
	}
	full := append([]string{"--root-dir=" + string(n.root)}, args...)
	full = append(full, "--node-name="+n.Name, "--cri-socket=unix://"+n.Socket(), "--kubelet-extra-arg=node-ip="+n.addresses())
	if !n.systemdRuns() {
		full = append(full, "--kubelet-cgroup-root="+n.cgroup)
	}
	if n.NetNS != "" {
		full = append(full, "--kubelet-resolv-conf="+n.root.Path(resolvConf))
	}
	cmd := n.Command(ctx, filepath.Join(n.bin, "xebecadm"), full...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	log, err := os.OpenFile(n.root.Path(host.Logs+"/xebecadm.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := cmd.Start(); err != nil {
		return err
	}
	var tail []string
	for s := bufio.NewScanner(stdout); s.Scan(); {
		fmt.Fprintln(log, s.Text())
		if strings.TrimSpace(s.Text()) == "" {
			continue
		}
		tail = append(tail, s.Text())
		if len(tail) > 20 {
			tail = tail[1:]
		}
		n.tell(s.Text())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: xebecadm %s: %w\n%s", n.Name, verb, err, strings.Join(tail, "\n"))
	}
	n.progress.Done("%s: xebecadm %s done in %s", n.Name, verb, time.Since(begun).Round(10*time.Millisecond))
	return nil
}

func (n *Node) addresses() string {
	if n.Address6 == "" {
		return n.Address
	}
	return n.Address + "," + n.Address6
}

// tell passes on xebecadm's lines that say what is healthy; others are waits.
func (n *Node) tell(line string) {
	if _, what, ok := strings.Cut(line, "-check] "); ok && strings.Contains(what, "healthy after") {
		n.progress.Done("%s: %s", n.Name, what)
		return
	}
	n.progress.Wait("%s: %s", n.Name, line)
}
