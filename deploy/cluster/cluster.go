// Package cluster runs clusters on this machine, the way they are deployed in
// earnest: containerd and kubelet on the machine, everything else in pods.
// One node has the machine's own network; several have a network namespace
// each, joined by a bridge. `make up` and the end-to-end tests use it.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/supervise"
)

// Options of a cluster; the zero value is one node on this machine.
type Options struct {
	// Bin is the directory with the programs and images/.
	Bin string
	// Name tells clusters on one machine apart; it names namespaces and links.
	// Of at most six letters.
	Name string
	// Nodes in namespaces of their own; 0 is one node in the machine's.
	Nodes int
	// ControlPlanes are how many of the nodes are members of the control
	// plane; 0 is one.
	ControlPlanes int
	// Endpoint of a control plane of several members, HOST or HOST:PORT, in
	// front of them; the first one's own address when empty.
	Endpoint string
	// Root is the node's root directory, or the directory with those of
	// several nodes.
	Root string
	// Subnet of the bridge between nodes, a /24.
	Subnet string
	// PodCIDR and ServiceCIDR; kubeadm's usual ones when empty. With one of each
	// family, comma-separated, nodes in namespaces have addresses of both.
	PodCIDR, ServiceCIDR string
	// Address of a node in the machine's network; the default route's when empty.
	Address string
	// Taint keeps the control plane's taint, so that pods run on other nodes only.
	Taint bool
	// Ephemeral saves the waits for the disk: for clusters that are thrown away.
	Ephemeral bool
	// Reference makes the pod network of the reference plugins, in place of ours.
	Reference bool
	// InitArgs and JoinArgs go to xebecadm.
	InitArgs, JoinArgs []string
	// Progress is told what happens; nil is nobody.
	Progress *Progress
}

// Cluster is a running cluster.
type Cluster struct {
	Options
	nodes []*Node
	// key encrypts what members of the control plane share.
	key string
}

// Node is one of its machines.
type Node struct {
	Name    string
	Address string
	// Address6 is the second one, of a cluster that has both families.
	Address6 string
	// NetNS is the name of its network namespace; empty is the machine's.
	NetNS string

	gateway  string
	root     layout.Root
	bin      string
	progress *Progress
	cgroup   string
	// hadPods says that a cgroup of pods was there before there was a node.
	hadPods bool
	// before is the machine's network before there was a node.
	before *host.Snapshot
	// failed is what of it could not be taken away; running are the files of
	// units that could not be stopped.
	failed  error
	running []string
}

// nameForm is of names that links, namespaces and cgroups can have.
var nameForm = regexp.MustCompile(`^[a-z0-9]{1,6}$`)

// maxNodes are what a /24 has addresses for, beside the bridge's.
const maxNodes = 252

func (o *Options) defaults() error {
	if o.Bin == "" {
		o.Bin = "bin"
	}
	var err error
	if o.Bin, err = filepath.Abs(o.Bin); err != nil {
		return err
	}
	set := func(to *string, v string) {
		if *to == "" {
			*to = v
		}
	}
	set(&o.Name, "xebec")
	if !nameForm.MatchString(o.Name) {
		return fmt.Errorf("name %q of the cluster: expected at most six of a-z and 0-9, links have short names", o.Name)
	}
	o.ControlPlanes = max(o.ControlPlanes, 1)
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return fmt.Errorf("%d nodes: expected at most %d, or 0 for one in this machine's own network", o.Nodes, maxNodes)
	}
	if o.ControlPlanes > max(o.Nodes, 1) {
		return fmt.Errorf("%d nodes of the control plane: expected at most as many as there are nodes, %d", o.ControlPlanes, max(o.Nodes, 1))
	}
	if o.Nodes == 0 {
		set(&o.Root, "/")
	} else {
		set(&o.Root, usualRoot(o.Name))
	}
	// Daemons are told paths below it, and run elsewhere.
	if o.Root, err = filepath.Abs(o.Root); err != nil {
		return err
	}
	set(&o.Subnet, "172.31.99.0/24")
	set(&o.PodCIDR, "10.244.0.0/16")
	set(&o.ServiceCIDR, "10.96.0.0/12")
	if o.Progress == nil {
		o.Progress = NewProgress(io.Discard)
	}
	return nil
}

// usualRoot has the directories of the nodes in namespaces of a cluster.
func usualRoot(cluster string) string { return "/run/xebec-" + cluster }

// second is the IPv6 address that goes with a node's IPv4 address, in a
// cluster of both families.
func (o *Options) second(a netip.Addr) string {
	if !strings.Contains(o.PodCIDR, ",") || !a.Is4() {
		return ""
	}
	b := a.As4()
	return fmt.Sprintf("fd00:%x:%x:%x::%x", b[0], b[1], b[2], b[3])
}

// subnet is that of the nodes: apart from pods and Services, whose ranges
// xebecadm looks at.
func (o *Options) subnet() (netip.Prefix, error) {
	p, err := netip.ParsePrefix(o.Subnet)
	if err != nil || !p.Addr().Is4() || p.Bits() > 24 {
		return p, fmt.Errorf("subnet %q of the nodes: expected a /24 such as 172.31.99.0/24", o.Subnet)
	}
	p = p.Masked()
	for s := range strings.SplitSeq(o.PodCIDR+","+o.ServiceCIDR, ",") {
		if other, err := netip.ParsePrefix(s); err == nil && other.Overlaps(p) {
			return p, fmt.Errorf("subnet %s of the nodes: expected a range apart from %s of pods or Services", p, other)
		}
	}
	return p, nil
}

// New describes a cluster; nothing is started.
func New(o Options) (*Cluster, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	key, err := bootstrap.NewCertificateKey()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Options: o, key: key}
	if o.Nodes == 0 {
		name, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		address := o.Address
		if address == "" {
			if address, err = bootstrap.DefaultAddress(); err != nil {
				return nil, err
			}
		}
		c.nodes = []*Node{{Name: strings.ToLower(name), Address: address, root: layout.Root(o.Root), bin: o.Bin, progress: o.Progress, cgroup: "/" + o.Name}}
		return c, host.CheckRoot(c.nodes[0].root)
	}
	subnet, err := o.subnet()
	if err != nil {
		return nil, err
	}
	gateway := subnet.Addr().Next() // the bridge's
	a := gateway
	for i := range o.Nodes {
		a = a.Next()
		name := fmt.Sprintf("n%d", i+1)
		c.nodes = append(c.nodes, &Node{Name: name, Address: a.String(), NetNS: o.Name + "-" + name, gateway: gateway.String(),
			Address6: o.second(a), root: layout.Root(filepath.Join(o.Root, name)), bin: o.Bin, progress: o.Progress, cgroup: "/" + o.Name + "-" + name})
	}
	return c, host.CheckRoot(c.nodes[o.Nodes-1].root)
}

// Members are the nodes, the first control plane node first.
func (c *Cluster) Members() []*Node { return c.nodes }

// Kubeconfig is the administrator's.
func (c *Cluster) Kubeconfig() string { return c.nodes[0].root.Path(layout.AdminConf) }

// Kubectl runs kubectl as the administrator and gives its output; the error
// has what it said.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.Bin, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig())
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), err
}

// Start brings the cluster up and returns when its nodes are Ready and its
// DNS answers. What was started stays when it fails; Stop takes it away.
func (c *Cluster) Start(ctx context.Context) error {
	if err := errors.Join(c.need(), c.here(), privileged()); err != nil {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	ctx, stop := c.whileKept(ctx)
	defer stop()
	err := c.start(ctx)
	if errors.Is(err, ErrTakenDown) {
		return err
	}
	if taken := context.Cause(ctx); err != nil && errors.Is(taken, ErrTakenDown) {
		return taken
	}
	return err
}

func (c *Cluster) start(ctx context.Context) error {
	if c.Nodes > 0 && c.linked() {
		return fmt.Errorf("cluster %q, whose link is %s: %w", c.Name, c.bridge(), ErrUp)
	}
	if err := c.begin(c.nodes...); err != nil {
		return err
	}
	if c.Nodes > 0 {
		if err := c.fabric(ctx); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := n.prepare(ctx, c); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	images, err := c.startImports(ctx)
	if err != nil {
		return err
	}
	if err := c.init(ctx, images); err != nil {
		return err
	}
	if err := c.join(ctx); err != nil {
		return err
	}
	return c.wait(ctx)
}

func privileged() error {
	if os.Getuid() != 0 {
		return errors.New("a node needs root: its kubelet mounts, its runtime makes namespaces")
	}
	return nil
}

// need says what is missing of the programs, all at once.
func (c *Cluster) need() error {
	var missing []string
	for _, p := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc", "kubelet", "xebecadm", "xebec-up"} {
		if _, err := os.Stat(filepath.Join(c.Bin, p)); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("these programs are not in %s: %s; `make build tools images` makes them", c.Bin, strings.Join(missing, ", "))
	}
	return nil
}

// here says that the address given for a node is not this machine's.
func (c *Cluster) here() error {
	if c.Nodes > 0 || c.Address == "" {
		return nil
	}
	have, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	var all []string
	for _, a := range have {
		p, ok := a.(*net.IPNet)
		if ok && p.IP.Equal(net.ParseIP(c.Address)) {
			return nil
		}
		if ok && p.IP.IsGlobalUnicast() {
			all = append(all, p.IP.String())
		}
	}
	return fmt.Errorf("address %q: expected one of this machine's: %s", c.Address, strings.Join(all, ", "))
}

// whileKept ends when the first node's record goes: somebody has taken the
// cluster down while it was brought up, and nothing of it will come.
func (c *Cluster) whileKept(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for kept := false; ; {
			r, err := host.ReadRecord(c.nodes[0].root)
			if err == nil && kept && !r.Kept() {
				cancel(ErrTakenDown)
			}
			kept = kept || err == nil && r.Kept()
			select {
			case <-ctx.Done():
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// each does something for all nodes at once.
func (c *Cluster) each(do func(*Node) error) error {
	results := make(chan error, len(c.nodes))
	for _, n := range c.nodes {
		go func() {
			err := do(n)
			if err != nil {
				err = fmt.Errorf("node %s: %w", n.Name, err)
			}
			results <- err
		}()
	}
	var errs []error
	for range c.nodes {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// Command makes a command that runs in the node's network.
func (n *Node) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	if n.NetNS == "" {
		return exec.CommandContext(ctx, program, args...)
	}
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + n.NetNS, "--", program}, args...)...)
}

// Path of one of the node's files on this machine.
func (n *Node) Path(path string) string { return n.root.Path(path) }

// Socket is the container runtime's address.
func (n *Node) Socket() string { return n.root.Path(host.Socket) }

// Log is the log file of containerd or kubelet.
func (n *Node) Log(daemon string) string { return n.root.Path(host.Logs + "/" + daemon + ".log") }

// Order tells the node's supervisor to start, stop, restart or kill one of
// containerd and kubelet. One that was killed is started again.
func (n *Node) Order(what, daemon string) error {
	return supervise.Ask(supervise.Socket(n.root.Path(host.State)), what+" "+daemon)
}

// Pid of containerd or kubelet; 0 when it does not run.
func (n *Node) Pid(daemon string) int { return supervise.Pid(n.root.Path(host.State), daemon) }

// init makes the control plane. The addons come once their images are there:
// a pull that fails would be tried again after ten seconds only.
func (c *Cluster) init(ctx context.Context, images *importing) error {
	n := c.nodes[0]
	args := []string{"--apiserver-advertise-address=" + n.Address, "--pod-network-cidr=" + c.PodCIDR, "--service-cidr=" + c.ServiceCIDR,
		"--encryption-algorithm=ECDSA-P256", "--kubelet-config=" + n.root.Path(kubeletConfig)}
	if !c.Taint {
		args = append(args, "--no-taints")
	}
	if c.ControlPlanes > 1 {
		args = append(args, "--upload-certs", "--certificate-key="+c.key, "--control-plane-endpoint="+cmp.Or(c.Endpoint, n.Address))
	}
	if c.Ephemeral {
		args = append(args, "--component-extra-arg=etcd:unsafe-no-fsync=true")
	}
	args = append(args, c.InitArgs...)
	if err := n.adm(ctx, append([]string{"init", "--skip-phases=addon"}, args...)...); err != nil {
		return err
	}
	if err := <-images.done; err != nil {
		return err
	}
	return n.adm(ctx, append([]string{"init", "phase", "addon"}, args...)...)
}

func (c *Cluster) join(ctx context.Context) error {
	if len(c.nodes) == 1 {
		return nil
	}
	args, err := c.joinArgs(ctx)
	if err != nil {
		return err
	}
	args = append(args, c.JoinArgs...)
	if !c.Taint {
		args = append(args, "--no-taints")
	}
	// Members of the control plane one after the other: etcd takes one at a time.
	for _, n := range c.nodes[1:c.ControlPlanes] {
		more := []string{"--control-plane", "--certificate-key=" + c.key, "--apiserver-advertise-address=" + n.Address}
		if err := n.adm(ctx, append(args, more...)...); err != nil {
			return err
		}
	}
	workers := &Cluster{Options: c.Options, nodes: c.nodes[c.ControlPlanes:]}
	return workers.each(func(n *Node) error { return n.adm(ctx, args...) })
}

// joinArgs are the words of a join command, of a token made for it.
func (c *Cluster) joinArgs(ctx context.Context) ([]string, error) {
	n := c.nodes[0]
	// By name: $KUBECONFIG may be that of another cluster, which nodes would then join.
	out, err := n.Command(ctx, filepath.Join(n.bin, "xebecadm"), "--root-dir="+string(n.root), "token", "create", "--ttl=1h", "--print-join-command",
		"--kubeconfig="+c.Kubeconfig()).Output()
	if err != nil {
		return nil, fmt.Errorf("make a join command: %w: %s", err, stderrOf(err))
	}
	words := strings.Fields(string(out))
	if len(words) < 3 {
		return nil, fmt.Errorf("the join command is %q", out)
	}
	return words[1:], nil
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return strings.TrimSpace(string(exit.Stderr))
	}
	return ""
}

// AddNode joins one more node to a cluster of nodes in namespaces.
func (c *Cluster) AddNode(ctx context.Context) (*Node, error) {
	o := c.Options
	o.Nodes++
	grown, err := New(o)
	if err != nil {
		return nil, err
	}
	n := grown.nodes[len(grown.nodes)-1]
	if err := c.begin(n); err != nil {
		return nil, err
	}
	c.nodes, c.Nodes = append(c.nodes, n), o.Nodes
	if err := c.attach(ctx, n); err != nil {
		return nil, err
	}
	if err := n.prepare(ctx, c); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(n.bin, "images", "*.tar"))
	if err != nil {
		return nil, err
	}
	if err := n.importImages(ctx, files); err != nil {
		return nil, err
	}
	args, err := c.joinArgs(ctx)
	if err != nil {
		return nil, err
	}
	return n, n.adm(ctx, append(args, c.JoinArgs...)...)
}

// startTimeout bounds each wait of Start.
const startTimeout = 4 * time.Minute
