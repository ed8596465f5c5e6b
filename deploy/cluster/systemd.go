package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/systemd"
)

// The container runtime's unit has a name of its own: the machine may have
// another containerd, which is left alone.
const runtimeUnit = "xebec-containerd.service"

// certsTimer has certificates renewed that are due, on nodes of the control
// plane.
const certsTimer = "xebec-certs.timer"

// systemdRuns says whether systemd keeps the node's daemons: it does for the
// machine itself, not for nodes in namespaces.
func (n *Node) systemdRuns() bool { return n.NetNS == "" && !n.root.Own() && host.Systemd() }

// units of the node by their files.
func (n *Node) units() (map[string][]byte, error) {
	out := map[string][]byte{}
	for name, file := range map[string]string{
		"containerd.service": runtimeUnit, "kubelet.service": "kubelet.service",
		"kubelet.service.d/10-kubeadm.conf": "kubelet.service.d/10-kubeadm.conf",
		"xebec-certs.service":               "xebec-certs.service", certsTimer: certsTimer,
	} {
		raw, err := systemd.Unit(name, n.bin, host.RuntimeConf)
		if err != nil {
			return nil, err
		}
		text := string(raw)
		if name == "kubelet.service" {
			text = strings.ReplaceAll(text, "containerd.service", runtimeUnit)
		}
		out["/etc/systemd/system/"+file] = []byte(text)
	}
	return out, nil
}

// startUnits installs the units and starts the runtime; xebecadm starts the
// kubelet when it has written its configuration.
func (n *Node) startUnits(ctx context.Context, r *host.Record) error {
	units, err := n.units()
	if err != nil {
		return err
	}
	for file, text := range units {
		if _, err := os.Stat(file); err == nil && !r.Made(file) {
			return fmt.Errorf("%s is there: another kubelet is installed on this machine. Remove it, or run the node in a namespace: --nodes 1", file)
		}
		if err := r.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return errors.Join(systemctl(ctx, "daemon-reload"), systemctl(ctx, "enable", "--now", runtimeUnit), systemctl(ctx, "enable", "kubelet.service"), systemctl(ctx, "enable", "--now", certsTimer))
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// stopUnit stops a unit that this program has installed.
func (n *Node) stopUnit(ctx context.Context, unit string) error {
	if _, err := os.Stat("/etc/systemd/system/" + unit); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	err := systemctl(ctx, "disable", "--now", unit)
	if err != nil {
		n.running = append(n.running, "/etc/systemd/system/"+unit)
	}
	return err
}
