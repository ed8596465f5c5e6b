package cluster

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"xebec.dev/deploy/internal/host"
)

// Kill ends everything that runs on a node of a namespace at once, as when its
// power fails: nobody is told, nothing is put in order.
func (n *Node) Kill() error {
	if n.NetNS == "" {
		return errors.New("this node is the machine itself: it is not killed")
	}
	n.endSupervisor()
	var errs []error
	for _, daemon := range []string{"kubelet", "containerd"} {
		if pid := n.Pid(daemon); pid != 0 {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				errs = append(errs, fmt.Errorf("kill %s: %w", daemon, err))
			}
		}
	}
	shims, err := host.Shims(n.Socket())
	errs = append(errs, err)
	for _, pid := range shims {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	return errors.Join(append(errs, host.RemoveCgroup(n.cgroup))...)
}

// Boot starts a node again that Kill ended, with what is on its disk.
func (n *Node) Boot(ctx context.Context) error {
	if err := host.MakeCgroup(n.cgroup); err != nil {
		return err
	}
	if err := n.startSupervisor(); err != nil {
		return err
	}
	return n.waitRuntime(ctx)
}
