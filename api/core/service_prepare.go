package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/scheme"
)

// ServiceNeedsClusterIP reports whether services of this type have cluster
// IPs, an address or "None": all but ExternalName. Whoever allocates asks it of
// the new service (take addresses unless ServiceIsHeadless) and of the old one
// (release what the new one does not keep).
func ServiceNeedsClusterIP(s *corev1.Service) bool {
	switch s.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
		return true
	}
	return false
}

// ServiceIsHeadless reports whether a service asks for no address.
func ServiceIsHeadless(s *corev1.Service) bool {
	if len(s.Spec.ClusterIPs) > 0 {
		return s.Spec.ClusterIPs[0] == corev1.ClusterIPNone
	}
	return s.Spec.ClusterIP == corev1.ClusterIPNone
}

// ServiceHasNodePorts reports whether the type may have node ports. They are
// to be allocated unless allocateLoadBalancerNodePorts is false.
func ServiceHasNodePorts(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
}

// ServiceNeedsHealthCheck reports whether a load balancer needs a node port of
// its own to ask which nodes have endpoints.
func ServiceNeedsHealthCheck(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// externallyReachable takes services that traffic from outside may reach.
func externallyReachable(s *corev1.Service) bool {
	return ServiceHasNodePorts(s) || s.Spec.Type == corev1.ServiceTypeClusterIP && len(s.Spec.ExternalIPs) > 0
}

func prepareService(_ scheme.Context, s *corev1.Service) {
	s.Status = corev1.ServiceStatus{}
	PrepareServiceIPs(s, nil)
}

func prepareServiceUpdate(_ scheme.Context, s, old *corev1.Service) {
	s.Status = old.Status
	PrepareServiceIPs(s, old)
	dropOtherTypes(s, old)
}

// PrepareServiceIPs takes from old, which is nil on create, the allocated
// values that the writer left out, and brings clusterIP and clusterIPs into
// step. The order of a write is: PrepareServiceIPs, InitServiceFamilies,
// allocation (which looks at the new type alone: what the old one had and the
// new one can't have is released), PrepareUpdate, validation. Doing it twice
// changes nothing.
func PrepareServiceIPs(s, old *corev1.Service) {
	if old != nil {
		keepAllocated(s, old)
	}
	alignClusterIPs(s, old)
}

func keepAllocated(s, old *corev1.Service) {
	if ServiceNeedsClusterIP(s) && ServiceNeedsClusterIP(old) {
		if s.Spec.ClusterIP == "" {
			s.Spec.ClusterIP = old.Spec.ClusterIP
		}
		if len(s.Spec.ClusterIPs) == 0 && s.Spec.ClusterIP == old.Spec.ClusterIP {
			s.Spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
		}
	}
	if ServiceHasNodePorts(s) && ServiceHasNodePorts(old) {
		keepNodePorts(s.Spec.Ports, old.Spec.Ports)
	}
	if ServiceNeedsHealthCheck(s) && ServiceNeedsHealthCheck(old) && s.Spec.HealthCheckNodePort == 0 {
		s.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

// keepNodePorts gives a port without node port the one that a port of its name
// had, unless the writer has moved that one to another port.
func keepNodePorts(ports, old []corev1.ServicePort) {
	for i := range ports {
		p := &ports[i]
		if p.NodePort != 0 {
			continue
		}
		j := slices.IndexFunc(old, func(o corev1.ServicePort) bool { return o.Name == p.Name })
		if j < 0 || slices.ContainsFunc(ports, func(o corev1.ServicePort) bool { return o.NodePort == old[j].NodePort }) {
			continue
		}
		p.NodePort = old[j].NodePort
	}
}

// alignClusterIPs divines what a writer meant who changed one of the two
// fields. What remains apart is refused by validation.
func alignClusterIPs(s, old *corev1.Service) {
	spec := &s.Spec
	if old == nil {
		if spec.ClusterIP != "" && len(spec.ClusterIPs) == 0 {
			spec.ClusterIPs = []string{spec.ClusterIP}
		}
		return
	}
	switch {
	case spec.ClusterIP == old.Spec.ClusterIP:
		if len(spec.ClusterIPs) == 0 {
			spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
		}
	case !slices.Equal(spec.ClusterIPs, old.Spec.ClusterIPs):
	case spec.ClusterIP == "":
		spec.ClusterIPs = nil
	default:
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
}

// dropOtherTypes clears what belonged to the type before, as far as the writer
// left it as it was: a change of type alone is a valid update.
func dropOtherTypes(s, old *corev1.Service) {
	now, was := &s.Spec, &old.Spec
	if ServiceNeedsClusterIP(old) && !ServiceNeedsClusterIP(s) {
		if now.ClusterIP == was.ClusterIP && slices.Equal(now.ClusterIPs, was.ClusterIPs) {
			now.ClusterIP, now.ClusterIPs = "", nil
		}
		if slices.Equal(now.IPFamilies, was.IPFamilies) {
			now.IPFamilies = nil
		}
		dropSame(&now.IPFamilyPolicy, was.IPFamilyPolicy)
		dropSame(&now.InternalTrafficPolicy, was.InternalTrafficPolicy)
	}
	if ServiceHasNodePorts(old) && !ServiceHasNodePorts(s) && sameNodePorts(now.Ports, was.Ports) {
		for i := range now.Ports {
			now.Ports[i].NodePort = 0
		}
	}
	if ServiceNeedsHealthCheck(old) && !ServiceNeedsHealthCheck(s) && now.HealthCheckNodePort == was.HealthCheckNodePort {
		now.HealthCheckNodePort = 0
	}
	if externallyReachable(old) && !externallyReachable(s) && now.ExternalTrafficPolicy == was.ExternalTrafficPolicy {
		now.ExternalTrafficPolicy = ""
	}
	if was.Type == corev1.ServiceTypeLoadBalancer && now.Type != corev1.ServiceTypeLoadBalancer {
		dropSame(&now.AllocateLoadBalancerNodePorts, was.AllocateLoadBalancerNodePorts)
		dropSame(&now.LoadBalancerClass, was.LoadBalancerClass)
	}
}

func dropSame[T comparable](now **T, was *T) {
	if *now != nil && was != nil && **now == *was {
		*now = nil
	}
}

// sameNodePorts compares the node ports as sets.
func sameNodePorts(a, b []corev1.ServicePort) bool {
	subset := func(a, b []corev1.ServicePort) bool {
		for i := range a {
			if a[i].NodePort != 0 && !slices.ContainsFunc(b, func(p corev1.ServicePort) bool { return p.NodePort == a[i].NodePort }) {
				return false
			}
		}
		return true
	}
	return subset(a, b) && subset(b, a)
}
