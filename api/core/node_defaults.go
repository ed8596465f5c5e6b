package core

import corev1 "k8s.io/api/core/v1"

// DefaultNode lets pods have all there is, unless the node says how much of it
// they may have, and keeps the old single pod range and the list in step.
func DefaultNode(n *corev1.Node) {
	s := &n.Status
	if s.Allocatable == nil && s.Capacity != nil {
		s.Allocatable = s.Capacity.DeepCopy()
	}
	RoundResources(s.Capacity)
	RoundResources(s.Allocatable)

	// The single range wins: old writers know only that one.
	switch cidrs := n.Spec.PodCIDRs; {
	case n.Spec.PodCIDR == "":
		if len(cidrs) > 0 {
			n.Spec.PodCIDR = cidrs[0]
		}
	case len(cidrs) == 0 || cidrs[0] != n.Spec.PodCIDR:
		n.Spec.PodCIDRs = []string{n.Spec.PodCIDR}
	}
}
