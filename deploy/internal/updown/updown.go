// Package updown is the command line of xebec-up.
package updown

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"xebec.dev/deploy/cluster"
	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/kubelet"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/supervise"
)

const usage = `xebec-up up      brings a cluster up on this machine
xebec-up down    takes it down again, and looks that nothing is left
xebec-up node    supervises containerd and the kubelet of a node
xebec-up resolve asks a DNS server for the API server's Service

"xebec-up up --help" tells the flags.
`

// Run does what the first argument says.
func Run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("expected up, down, node or resolve")
	}
	err := run(ctx, args, out)
	if errors.Is(err, pflag.ErrHelp) {
		return nil // it was told
	}
	return err
}

func run(ctx context.Context, args []string, out io.Writer) error {
	switch args[0] {
	case "help", "-h", "--help":
		fmt.Fprint(out, usage)
		return nil
	case "up":
		return up(ctx, args[1:], out)
	case "down":
		return down(ctx, args[1:], out)
	case "node":
		return node(ctx, args[1:], out)
	case "resolve":
		if len(args) != 2 {
			return errors.New("resolve: expected the address of a DNS server")
		}
		return cluster.Resolve(ctx, args[1])
	}
	return fmt.Errorf("%q is not known: expected up, down, node or resolve", args[0])
}

// usual is the name of a cluster that is given none.
const usual = "xebec"

func flags(verb string, o *cluster.Options, args []string) error {
	fs := pflag.NewFlagSet("xebec-up "+verb, pflag.ContinueOnError)
	fs.StringVar(&o.Bin, "bin", "bin", "directory with the programs and images/")
	fs.StringVar(&o.Name, "name", usual, "name of the cluster, at most six of a-z and 0-9")
	fs.IntVar(&o.Nodes, "nodes", 0, "nodes, each in a network namespace of its own; 0 is one in this machine's network")
	fs.IntVar(&o.ControlPlanes, "control-planes", 1, "how many of the nodes are members of the control plane")
	fs.StringVar(&o.Root, "root", "", "root directory of the node, or directory of those of several nodes")
	fs.StringVar(&o.Subnet, "subnet", "172.31.99.0/24", "addresses of nodes in namespaces")
	fs.StringVar(&o.PodCIDR, "pod-network-cidr", "10.244.0.0/16", "addresses of pods")
	fs.StringVar(&o.ServiceCIDR, "service-cidr", "10.96.0.0/12", "addresses of Services")
	fs.StringVar(&o.Address, "address", "", "address of the node; the default route's when empty")
	fs.BoolVar(&o.Taint, "taint", false, "keep pods that do not tolerate it off the control plane's nodes")
	fs.BoolVar(&o.Ephemeral, "ephemeral", false, "do not wait for the disk: for clusters that are thrown away")
	fs.BoolVar(&o.Reference, "reference-network", false, "make the pod network of the CNI project's reference plugins")
	fs.StringArrayVar(&o.InitArgs, "init-arg", nil, "argument of xebecadm init; may be given more than once")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%s: %q: expected flags only", verb, fs.Arg(0))
	}
	return nil
}

func up(ctx context.Context, args []string, out io.Writer) error {
	o := cluster.Options{Progress: cluster.NewProgress(out)}
	if err := flags("up", &o, args); err != nil {
		return err
	}
	c, err := cluster.New(o)
	if err != nil {
		return err
	}
	if err := c.Start(ctx); told(err) {
		return err
	} else if err != nil {
		first := c.Members()[0]
		return fmt.Errorf("%w\n\nWhat is there stays, to be looked at: the logs are in %s. `%s` takes it away", err, filepath.Dir(first.Log("kubelet")), undo(o, c))
	}
	fmt.Fprintf(out, `
The cluster is up after %.1f s. To use it:

  export KUBECONFIG=%s PATH=%s:$PATH
  kubectl get nodes,pods -A
  kubectl create deployment web --image=xebec.dev/web:v1
  kubectl expose deployment web --port 80 --target-port 8080
  kubectl run try --image=xebec.dev/busybox:v1 -- sleep 36000
  kubectl wait --for=condition=Ready pod/try
  kubectl exec try -- wget -qO- http://web

%s takes it away.
`, c.Progress.Elapsed().Seconds(), c.Kubeconfig(), c.Bin, undo(o, c))
	return nil
}

// undo is the command that takes a cluster away, which was made with options.
func undo(o cluster.Options, c *cluster.Cluster) string {
	var flags []string
	if c.Name != usual {
		flags = append(flags, "--name "+c.Name)
	}
	if o.Root != "" {
		flags = append(flags, "--root "+c.Root)
	}
	if len(flags) == 0 {
		return "make down"
	}
	return "make down UPFLAGS='" + strings.Join(flags, " ") + "'"
}

// told reports whether an error is of a machine where nothing was begun.
func told(err error) bool {
	return errors.Is(err, cluster.ErrUp) || errors.Is(err, cluster.ErrTaken) || errors.Is(err, cluster.ErrUnfit) || errors.Is(err, cluster.ErrTakenDown)
}

func down(ctx context.Context, args []string, out io.Writer) error {
	o := cluster.Options{Progress: cluster.NewProgress(out)}
	if err := flags("down", &o, args); err != nil {
		return err
	}
	c, err := cluster.Found(o)
	if err != nil {
		return err
	}
	return c.Stop(ctx)
}

// node supervises the daemons of a node until it is told to stop.
func node(ctx context.Context, args []string, out io.Writer) error {
	fs := pflag.NewFlagSet("xebec-up node", pflag.ContinueOnError)
	dir := fs.String("root-dir", "/", "root directory of the node")
	bin := fs.String("bin", "bin", "directory with the programs")
	if err := fs.Parse(args); err != nil {
		return err
	}
	root := layout.Root(*dir)
	path := []string{"PATH=" + *bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	s := &supervise.Supervisor{Dir: root.Path(host.State), Logs: root.Path(host.Logs),
		Out: func(format string, args ...any) {
			fmt.Fprintf(out, "%s %s\n", time.Now().Format("2006-01-02T15:04:05.000Z07:00"), fmt.Sprintf(format, args...))
		},
		Daemons: []supervise.Daemon{
			{Name: "containerd", Command: func() (argv, env []string, err error) {
				return []string{filepath.Join(*bin, "containerd"), "--config", root.Path(host.RuntimeConf)}, path, nil
			}},
			{Name: "kubelet", Needs: []string{root.Path(layout.KubeletConfig), root.Path(layout.KubeletFlags)}, Command: func() (argv, env []string, err error) {
				argv, err = kubeletCommand(filepath.Join(*bin, "kubelet"), root)
				return argv, path, err
			}},
		}}
	return s.Run(ctx)
}

// kubeletCommand is the command line of kubeadm's unit.
func kubeletCommand(program string, root layout.Root) ([]string, error) {
	argv := []string{program, "--bootstrap-kubeconfig=" + root.Path(layout.BootstrapKubeletConf), "--kubeconfig=" + root.Path(layout.KubeletConf),
		"--config=" + root.Path(layout.KubeletConfig)}
	raw, err := os.ReadFile(root.Path(layout.KubeletFlags))
	if err != nil {
		return nil, err
	}
	argv = append(argv, kubelet.ParseEnv(raw, "KUBELET_KUBEADM_ARGS")...)
	if raw, err := os.ReadFile(root.Path("/etc/default/kubelet")); err == nil {
		argv = append(argv, kubelet.ParseEnv(raw, "KUBELET_EXTRA_ARGS")...)
	}
	return argv, nil
}
