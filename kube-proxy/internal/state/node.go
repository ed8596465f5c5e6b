package state

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kube-proxy/internal/compile"
)

// readNode reads the node, and tells whether services mean something else by it.
func (s *State) readNode() bool {
	self := compileNode(&s.o, s.thisNode())
	if s.o.Health != nil {
		n := s.thisNode()
		s.nodeSeen = s.nodeSeen || n != nil
		// The Node may come after its proxy; one that goes is gone.
		s.o.Health.Node(eligible(n) || !s.nodeSeen)
	}
	if self == s.self {
		return false
	}
	s.self = self
	return true
}

func compileNode(o *Options, n *corev1.Node) compile.Node {
	out := compile.Node{Name: o.Node, MasqueradeAll: o.MasqueradeAll}
	networks := o.NodePorts
	if o.Primary {
		networks = primary(n, o.NodeIP)
	}
	for _, p := range networks {
		out.NodePortsV4 = out.NodePortsV4 || p.Addr().Is4()
		out.NodePortsV6 = out.NodePortsV6 || p.Addr().Is6()
	}
	if n != nil {
		out.Zone = n.Labels[corev1.LabelTopologyZone]
	}
	return out
}

func (s *State) thisNode() *corev1.Node {
	n, ok := s.r.Node.Get("", s.o.Node)
	if !ok {
		return nil
	}
	return n
}

// eligible nodes take new connections of load balancers.
func eligible(n *corev1.Node) bool {
	if n == nil || n.DeletionTimestamp != nil {
		return false
	}
	return !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == "ToBeDeletedByClusterAutoscaler" })
}

// networks are those of node ports.
func (s *State) networks() []netip.Prefix {
	if !s.o.Primary {
		return s.o.NodePorts
	}
	return primary(s.thisNode(), s.o.NodeIP)
}

// primary are the node's addresses, one of each family: its own idea if it
// has one, internal ones next.
func primary(n *corev1.Node, own netip.Addr) (out []netip.Prefix) {
	seen := map[bool]bool{}
	add := func(a netip.Addr) {
		if !seen[a.Is4()] {
			seen[a.Is4()] = true
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	if own.IsValid() && !own.IsUnspecified() {
		add(own)
	}
	if n == nil {
		return out
	}
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, a := range n.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil && a.Type == kind {
				add(ip.Unmap())
			}
		}
	}
	return out
}

// PodNetworks waits until the node has networks for pods, and gives them.
func (r *Replicas) PodNetworks(ctx context.Context) ([]netip.Prefix, error) {
	if err := r.Node.WaitForSync(ctx); err != nil {
		return nil, err
	}
	for {
		var out []netip.Prefix
		for n := range r.Node.Snapshot().All() {
			for _, text := range n.Spec.PodCIDRs {
				if p, err := netip.ParsePrefix(text); err == nil {
					out = append(out, p.Masked())
				}
			}
		}
		if len(out) > 0 {
			return out, nil
		}
		if err := r.Node.WaitFor(ctx, r.Node.Snapshot().Revision()+1); err != nil {
			return nil, fmt.Errorf("detectLocalMode NodeCIDR: the node has no spec.podCIDRs: %w", err)
		}
	}
}
