package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"

	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/kubelet"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/supervise"
)

var errNoRoute = errors.New("this machine has no default route to tell its address from: give it one, or the address (xebecadm's --apiserver-advertise-address, xebec-up's --address)")

// DefaultAddress is the address that this machine is reached at: the one it
// would send from, along its default route.
func DefaultAddress() (string, error) {
	// Nothing is sent: connecting a datagram socket only chooses a route.
	for _, to := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		conn, err := net.Dial("udp", to)
		if err != nil {
			continue
		}
		addr := conn.LocalAddr().(*net.UDPAddr).IP
		conn.Close()
		if addr.IsGlobalUnicast() {
			return addr.String(), nil
		}
	}
	return "", errNoRoute
}

// ThisNode is the machine the program runs on, with its files below root.
func ThisNode(root layout.Root, out io.Writer) (*Node, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	n := &Node{Root: root, Write: root, Out: out, Hostname: name}
	n.Kubelet = kubelet.Options{Root: root, Systemd: host.Systemd()}
	if _, err := os.Stat("/run/systemd/resolve/resolv.conf"); err == nil {
		n.Kubelet.ResolvConf = "/run/systemd/resolve/resolv.conf"
	}
	n.Service = serviceOf(root)
	return n, nil
}

// serviceOf is who runs daemons here: our supervisor, else systemd, else nobody.
func serviceOf(root layout.Root) Service {
	socket := supervise.Socket(root.Path(host.State))
	if supervise.Ask(socket, "status") == nil {
		return supervisor(socket)
	}
	if host.Systemd() && !root.Own() {
		return systemd{}
	}
	return nil
}

type supervisor string

func (s supervisor) Restart(_ context.Context, name string) error {
	return supervise.Ask(string(s), "restart "+name)
}

func (s supervisor) Stop(_ context.Context, name string) error {
	return supervise.Ask(string(s), "stop "+name)
}

type systemd struct{}

func (systemd) run(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %v: %w: %s", args, err, out)
	}
	return nil
}

func (s systemd) Restart(ctx context.Context, name string) error {
	if err := s.run(ctx, "daemon-reload"); err != nil {
		return err
	}
	return s.run(ctx, "restart", name)
}

func (s systemd) Stop(ctx context.Context, name string) error { return s.run(ctx, "stop", name) }

// StartDryRun makes the node write below a directory of its own and change nothing.
func (n *Node) StartDryRun(verb string) error {
	if err := os.MkdirAll(n.Root.Path(layout.Kubernetes+"/tmp"), 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(n.Root.Path(layout.Kubernetes+"/tmp"), "kubeadm-"+verb+"-dryrun")
	if err != nil {
		return err
	}
	n.DryRun, n.Write, n.Service = true, layout.Root(dir), nil
	fmt.Fprintf(n.Out, "[dryrun] Files are written below %q; nothing else is changed\n", dir)
	return nil
}
