// Package endpointslice keeps the EndpointSlices of services with selectors:
// which pods answer for a service, and whether they are ready.
package endpointslice

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/controller-manager/internal/pod"
)

// Families are the address types that a service has endpoints of.
func Families(svc *corev1.Service) []discoveryv1.AddressType {
	var out []discoveryv1.AddressType
	add := func(t discoveryv1.AddressType) {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	for _, f := range svc.Spec.IPFamilies {
		if f == corev1.IPv6Protocol {
			add(discoveryv1.AddressTypeIPv6)
		} else {
			add(discoveryv1.AddressTypeIPv4)
		}
	}
	if len(out) == 0 { // a service of before there were families
		if ip, err := netip.ParseAddr(svc.Spec.ClusterIP); err == nil && ip.Is6() {
			add(discoveryv1.AddressTypeIPv6)
		} else {
			add(discoveryv1.AddressTypeIPv4)
		}
	}
	return out
}

// Address is the pod's of a family, empty when it has none.
func Address(p *corev1.Pod, family discoveryv1.AddressType) string {
	ips := p.Status.PodIPs
	if len(ips) == 0 && p.Status.PodIP != "" {
		ips = []corev1.PodIP{{IP: p.Status.PodIP}}
	}
	for _, have := range ips {
		ip, err := netip.ParseAddr(have.IP)
		if err == nil && ip.Is6() == (family == discoveryv1.AddressTypeIPv6) {
			return have.IP
		}
	}
	return ""
}

// endpoint is what a pod is to a service.
func endpoint(p *corev1.Pod, node *corev1.Node, svc *corev1.Service, address string) discoveryv1.Endpoint {
	serving := pod.Ready(p)
	terminating := p.DeletionTimestamp != nil
	ready := svc.Spec.PublishNotReadyAddresses || serving && !terminating
	e := discoveryv1.Endpoint{
		Addresses:  []string{address},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
	}
	if p.Spec.NodeName != "" {
		name := p.Spec.NodeName
		e.NodeName = &name
	}
	if node != nil {
		if zone := node.Labels[corev1.LabelTopologyZone]; zone != "" {
			e.Zone = &zone
		}
	}
	if Hostname(p, svc) {
		host := p.Spec.Hostname
		e.Hostname = &host
	}
	e.Hints = hints(svc, &e)
	return e
}

// Hostname reports whether the pod's hostname is a name below the service's.
func Hostname(p *corev1.Pod, svc *corev1.Service) bool {
	return p.Spec.Hostname != "" && p.Spec.Subdomain == svc.Name && p.Namespace == svc.Namespace
}

// hints say who should prefer the endpoint, where the service wants that.
func hints(svc *corev1.Service, e *discoveryv1.Endpoint) *discoveryv1.EndpointHints {
	if svc.Spec.TrafficDistribution == nil || !*e.Conditions.Ready || ByCapacity(svc) {
		return nil
	}
	h := &discoveryv1.EndpointHints{}
	switch *svc.Spec.TrafficDistribution {
	case corev1.ServiceTrafficDistributionPreferSameNode:
		if e.NodeName != nil {
			h.ForNodes = []discoveryv1.ForNode{{Name: *e.NodeName}}
		}
		fallthrough
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone:
		if e.Zone != nil {
			h.ForZones = []discoveryv1.ForZone{{Name: *e.Zone}}
		}
	}
	if len(h.ForZones)+len(h.ForNodes) == 0 {
		return nil
	}
	return h
}

// ports are the service's as a pod has them; what the pod has no port for is
// left out.
func ports(svc *corev1.Service, p *corev1.Pod) []discoveryv1.EndpointPort {
	var out []discoveryv1.EndpointPort
	for i := range svc.Spec.Ports {
		sp := &svc.Spec.Ports[i]
		n, ok := FindPort(p, sp)
		if !ok {
			continue
		}
		name, protocol := sp.Name, sp.Protocol
		out = append(out, discoveryv1.EndpointPort{Name: &name, Port: &n, Protocol: &protocol, AppProtocol: sp.AppProtocol})
	}
	return out
}

// FindPort is the number that a service's port has at a pod: a port of one of
// its containers, sidecars included, where the service names one.
func FindPort(p *corev1.Pod, sp *corev1.ServicePort) (int32, bool) {
	if sp.TargetPort.Type == intstr.Int {
		return sp.TargetPort.IntVal, true
	}
	find := func(c *corev1.Container) (int32, bool) {
		for i := range c.Ports {
			if c.Ports[i].Name == sp.TargetPort.StrVal && c.Ports[i].Protocol == sp.Protocol {
				return c.Ports[i].ContainerPort, true
			}
		}
		return 0, false
	}
	for i := range p.Spec.Containers {
		if n, ok := find(&p.Spec.Containers[i]); ok {
			return n, true
		}
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		if n, ok := find(c); ok {
			return n, true
		}
	}
	return 0, false
}

// portKey is equal for equal ports in any order.
func portKey(ports []discoveryv1.EndpointPort) string {
	parts := make([]string, len(ports))
	for i := range ports {
		p := &ports[i]
		parts[i] = value(p.Name) + "/" + strconv.Itoa(int(value(p.Port))) + "/" + string(value(p.Protocol)) + "/" + value(p.AppProtocol)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func value[V any](p *V) (v V) {
	if p != nil {
		return *p
	}
	return v
}

// endpointKey says which endpoint of a slice stands for which pod.
func endpointKey(e *discoveryv1.Endpoint) string {
	if e.TargetRef != nil {
		return string(e.TargetRef.UID) + " " + e.Addresses[0]
	}
	return e.Addresses[0] // validation wants one
}

func compareEndpoints(a, b *discoveryv1.Endpoint) int {
	name := func(e *discoveryv1.Endpoint) string {
		if e.TargetRef != nil {
			return e.TargetRef.Name
		}
		return ""
	}
	return cmp.Or(cmp.Compare(name(a), name(b)), cmp.Compare(a.Addresses[0], b.Addresses[0]))
}

// sameEndpoint compares without reflection: a service of a thousand pods is
// compared at every change of one.
func sameEndpoint(a, b *discoveryv1.Endpoint) bool {
	return slices.Equal(a.Addresses, b.Addresses) && same(a.Conditions.Ready, b.Conditions.Ready) && same(a.Conditions.Serving, b.Conditions.Serving) &&
		same(a.Conditions.Terminating, b.Conditions.Terminating) && same(a.Hostname, b.Hostname) && same(a.NodeName, b.NodeName) &&
		same(a.Zone, b.Zone) && same(a.TargetRef, b.TargetRef) && sameHints(a.Hints, b.Hints) && len(a.DeprecatedTopology) == len(b.DeprecatedTopology)
}

func same[V comparable](a, b *V) bool { return a == b || a != nil && b != nil && *a == *b }

func sameHints(a, b *discoveryv1.EndpointHints) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.ForZones, b.ForZones) && slices.Equal(a.ForNodes, b.ForNodes)
}
