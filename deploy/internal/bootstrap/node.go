// Package bootstrap does what xebecadm's verbs do: phases that write a node's
// files, start its kubelet, and write the cluster's first objects. What is to
// be written is made by pure packages beside it.
package bootstrap

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/deploy/internal/apply"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubelet"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/pki"
)

// manager is the name under which objects are written.
const manager = "xebecadm"

// Node is the machine that a verb works on, and how it does so.
type Node struct {
	// Root is where the node's files are; Write is where they are written,
	// another place in a dry run.
	Root, Write layout.Root
	DryRun      bool
	Out         io.Writer
	Hostname    string
	Kubelet     kubelet.Options
	// Service restarts the kubelet; nil when somebody else does.
	Service Service

	api *client.Client
}

// Service starts and stops daemons of the node.
type Service interface {
	Restart(ctx context.Context, name string) error
	Stop(ctx context.Context, name string) error
}

func (n *Node) say(phase, format string, args ...any) {
	fmt.Fprintf(n.Out, "["+phase+"] "+format+"\n", args...)
}

func (n *Node) path(p string) string { return n.Write.Path(p) }

func (n *Node) writeFile(path string, data []byte, mode os.FileMode) error {
	return pki.WriteFile(n.path(path), data, mode)
}

// dial connects with a kubeconfig of the node; the connection is kept.
func (n *Node) dial(path string) (*client.Client, error) {
	if n.api != nil {
		return n.api, nil
	}
	c, err := client.Dial(client.Config{Kubeconfig: n.path(path)}, builtin.Scheme(), client.Options{UserAgent: manager})
	if err != nil {
		return nil, fmt.Errorf("use %s: %w", n.path(path), err)
	}
	n.api = c
	return c, nil
}

// Close ends the connection.
func (n *Node) Close() {
	if n.api != nil {
		n.api.Close()
		n.api = nil
	}
}

// apply writes objects, or prints them in a dry run.
func (n *Node) apply(ctx context.Context, objects ...runtime.Object) error {
	for _, o := range objects {
		m, err := toMap(o)
		if err != nil {
			return err
		}
		if err := n.applyMap(ctx, manager, m); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) applyMap(ctx context.Context, as string, m map[string]any) error {
	if n.DryRun {
		raw, err := yaml.Marshal(m)
		if err == nil {
			_, err = fmt.Fprintf(n.Out, "[dryrun] Would apply:\n---\n%s", raw)
		}
		return err
	}
	c, err := n.dial(layout.AdminConf)
	if err != nil {
		return err
	}
	return apply.Object(ctx, c, as, m)
}

// writeKubelet writes what the kubelet starts with.
func (n *Node) writeKubelet(shared map[string]any, reg *kubeadm.NodeRegistration, patches *kubeadm.Patches) error {
	raw, err := n.kubeletText(kubelet.WithRuntime(kubelet.Local(shared, n.Kubelet), reg.CRISocket), patches)
	if err != nil {
		return err
	}
	n.say("kubelet-start", "Writing kubelet environment file with flags to file %q", n.path(layout.KubeletFlags))
	if err := n.writeFile(layout.KubeletFlags, kubelet.Env(kubelet.Flags(reg, n.Hostname, n.Kubelet)), 0o644); err != nil {
		return err
	}
	n.say("kubelet-start", "Writing kubelet configuration to file %q", n.path(layout.KubeletConfig))
	if err := n.writeFile(layout.KubeletInstance, kubelet.Instance(reg.CRISocket), 0o600); err != nil {
		return err
	}
	return n.writeFile(layout.KubeletConfig, raw, 0o644)
}

// kubeletText is a kubelet's configuration after the patches for it.
func (n *Node) kubeletText(config map[string]any, given *kubeadm.Patches) ([]byte, error) {
	patches, err := n.patches(given)
	if err != nil {
		return nil, err
	}
	raw, err := kubelet.Marshal(config)
	if err != nil {
		return nil, err
	}
	return patches.apply(targetKubelet, raw)
}

// Runtime is the address of the container runtime that init or join has
// given the node's kubelet; empty when there was none.
func (n *Node) Runtime() string {
	raw, err := os.ReadFile(n.Root.Path(layout.KubeletInstance))
	if err != nil {
		return ""
	}
	return kubelet.InstanceSocket(raw)
}

func (n *Node) startKubelet(ctx context.Context) error {
	if n.DryRun {
		n.say("kubelet-start", "Would start the kubelet")
		return nil
	}
	if n.Service == nil {
		n.say("kubelet-start", "WARNING: no systemd and no supervisor run here: start or restart the kubelet now, with --config=%s and the flags in %s",
			n.Root.Path(layout.KubeletConfig), n.Root.Path(layout.KubeletFlags))
		return nil
	}
	n.say("kubelet-start", "Starting the kubelet")
	return n.Service.Restart(ctx, "kubelet")
}

// retry calls f until it succeeds or the time is up, and then gives the last
// error, which says more than that the time is up. What is late is told as it
// changes.
func retry(ctx context.Context, limit time.Duration, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	late, _ := ctx.Value(lateKey{}).(func(what string, err error))
	begun, told := time.Now(), ""
	var last error
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		// That the time is up says nothing of why.
		if last != nil && ctx.Err() != nil {
			err = last
		}
		last = err
		if late != nil && time.Since(begun) > 2*time.Second && err.Error() != told {
			told = err.Error()
			late(what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was not there after %s: %w", what, limit, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

type lateKey struct{}

// tellLate makes retries say what they wait for.
func (n *Node) tellLate(ctx context.Context) context.Context {
	return context.WithValue(ctx, lateKey{}, func(what string, err error) {
		n.say("wait", "%s: not yet: %s", what, strings.ReplaceAll(err.Error(), "\n", " "))
	})
}
