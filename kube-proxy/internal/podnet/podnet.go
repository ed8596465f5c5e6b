package podnet

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/client/cache"
)

// Options of the pod network; what is empty is not done.
type Options struct {
	// Node is this node's name.
	Node string
	// ConfFile is the network configuration list to write, such as
	// "/etc/cni/net.d/10-xebec.conflist".
	ConfFile string
	// Bridge of the plugin, "cni0" when empty, and the pods' MTU.
	Bridge string
	MTU    int
	// Cluster are the networks of all pods: traffic to them is not
	// masqueraded.
	Cluster []netip.Prefix
	Log     *zap.Logger
}

// Network keeps the node's share of the pod network.
type Network struct {
	o     Options
	nodes *cache.Replica[*corev1.Node]
	pods  *cache.Replica[*corev1.Pod]
	wake  chan struct{}
}

// PodFields are what of a pod is needed; pods of this node are selected by
// spec.nodeName.
var PodFields = []string{"spec.containers", "spec.initContainers", "spec.hostNetwork", "status.podIPs", "status.phase"}

// New makes a Network of replicas that somebody else runs.
func New(o Options, nodes *cache.Replica[*corev1.Node], pods *cache.Replica[*corev1.Pod]) *Network {
	if o.Bridge == "" {
		o.Bridge = "cni0"
	}
	n := &Network{o: o, nodes: nodes, pods: pods, wake: make(chan struct{}, 1)}
	nodes.OnChange(func(c cache.Change[*corev1.Node]) {
		if !c.HasOld || !c.HasNew || !sameNetwork(c.Old, c.New) {
			n.look()
		}
	})
	pods.OnChange(func(c cache.Change[*corev1.Pod]) {
		if c.HasOld && len(hostPorts(c.Old)) > 0 || c.HasNew && len(hostPorts(c.New)) > 0 {
			n.look()
		}
	})
	return n
}

func (n *Network) look() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// verify is how often the node is looked at though nothing has changed:
// somebody else may have.
const verify = time.Minute

// Run keeps the node as planned until ctx ends, and leaves everything: pods
// go on.
func (n *Network) Run(ctx context.Context) error {
	if err := cache.WaitForSync(ctx, n.nodes, n.pods); err != nil {
		return err
	}
	for pause := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		case <-time.After(pause):
		}
		pause = verify
		plan, err := compile(n.state())
		if err == nil {
			err = plan.apply(n.o.ConfFile, n.o.Bridge)
		}
		if err != nil {
			n.o.Log.Error("the pod network is not as it should be", zap.Error(err))
			pause = 5 * time.Second
		}
	}
}

// Cleanup removes rules and routes.
func Cleanup() error { return cleanup() }

func (n *Network) state() *State {
	s := &State{Node: n.o.Node, Bridge: n.o.Bridge, MTU: n.o.MTU, Cluster: n.o.Cluster, Bridged: filterBridge()}
	for node := range n.nodes.Snapshot().All() {
		s.Nodes = append(s.Nodes, nodeOf(node))
	}
	for pod := range n.pods.Snapshot().All() {
		if p := podOf(pod); len(p.Ports) > 0 {
			s.Pods = append(s.Pods, p)
		}
	}
	return s
}

// filterBridge has traffic between two pods of the node pass the IP hooks, and
// tells whether it does.
func filterBridge() bool {
	for _, name := range []string{"iptables", "ip6tables"} {
		if os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+name, []byte("1"), 0o644) != nil {
			return false
		}
	}
	return true
}

func nodeOf(n *corev1.Node) Node {
	out := Node{Name: n.Name}
	for _, text := range n.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			out.CIDRs = append(out.CIDRs, p.Masked())
		}
	}
	for _, a := range n.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP {
			out.Addresses = append(out.Addresses, ip)
		}
	}
	return out
}

func sameNetwork(a, b *corev1.Node) bool {
	return slices.Equal(a.Spec.PodCIDRs, b.Spec.PodCIDRs) && slices.Equal(a.Status.Addresses, b.Status.Addresses)
}

func podOf(p *corev1.Pod) Pod {
	out := Pod{Name: p.Namespace + "/" + p.Name}
	// The address of a pod that has ended may be another's by now.
	if p.Spec.HostNetwork || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return out
	}
	for _, ip := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			out.IPs = append(out.IPs, a)
		}
	}
	out.Ports = hostPorts(p)
	return out
}

func hostPorts(p *corev1.Pod) (out []HostPort) {
	for _, containers := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range containers {
			for _, port := range containers[i].Ports {
				if port.HostPort == 0 {
					continue
				}
				h := HostPort{Protocol: string(port.Protocol), Host: uint16(port.HostPort), Container: uint16(port.ContainerPort)}
				if ip, err := netip.ParseAddr(port.HostIP); err == nil {
					h.HostIP = ip
				}
				out = append(out, h)
			}
		}
	}
	return out
}
