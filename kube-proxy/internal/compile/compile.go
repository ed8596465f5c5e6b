package compile

import (
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Node is what a node knows of itself.
type Node struct {
	Name string
	Zone string // topology.kubernetes.io/zone
	// NodePorts are off for a family that the node has no address of.
	NodePortsV4, NodePortsV6 bool
	// MasqueradeAll replaces the source of all traffic to cluster IPs.
	MasqueradeAll bool
}

var protocols = map[corev1.Protocol]uint8{corev1.ProtocolTCP: unix.IPPROTO_TCP, corev1.ProtocolUDP: unix.IPPROTO_UDP, corev1.ProtocolSCTP: unix.IPPROTO_SCTP}

func protocolName(p uint8) string {
	for name, number := range protocols {
		if number == p {
			return string(name)
		}
	}
	return "?"
}

// proxyName is the label that hands a Service to another proxy.
const proxyName = "service.kubernetes.io/service-proxy-name"

// Ignored tells that a Service or slice is not this proxy's: headless,
// nameless, or another proxy's.
func Ignored(s *corev1.Service) bool {
	_, other := s.Labels[proxyName]
	return other || s.Spec.Type == corev1.ServiceTypeExternalName || s.Spec.ClusterIP == corev1.ClusterIPNone || s.Spec.ClusterIP == ""
}

// One says what a Service means on the node. The order of slices does not
// matter.
func One(s *corev1.Service, endpoints []*discoveryv1.EndpointSlice, node *Node) *Service {
	out := &Service{Name: s.Namespace + "/" + s.Name}
	if Ignored(s) {
		return out
	}
	for i := range s.Spec.Ports {
		port := &s.Spec.Ports[i]
		for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
			if x := newPort(s, port, family, endpoints, node); x != nil {
				out.Frontends = append(out.Frontends, x.frontends()...)
			}
		}
	}
	if s.Spec.HealthCheckNodePort != 0 && outsideLocal(s) {
		out.Health = &Health{Port: uint16(s.Spec.HealthCheckNodePort), Local: localReady(endpoints, node)}
	}
	return out
}

func outsideLocal(s *corev1.Service) bool {
	return s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// localReady counts the node's endpoints that are ready; each once, however
// many ports and families it has.
func localReady(endpoints []*discoveryv1.EndpointSlice, node *Node) int {
	seen := map[string]bool{}
	for _, slice := range endpoints {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if isLocal(e, node) && ready(e) && len(e.Addresses) > 0 {
				key := e.Addresses[0]
				if e.TargetRef != nil {
					key = string(e.TargetRef.UID) + e.TargetRef.Name
				}
				seen[key] = true
			}
		}
	}
	return len(seen)
}

// port is one port of a Service in one family.
type port struct {
	service  *corev1.Service
	port     *corev1.ServicePort
	node     *Node
	family   corev1.IPFamily
	protocol uint8
	found    candidates
}

func newPort(s *corev1.Service, p *corev1.ServicePort, family corev1.IPFamily, endpoints []*discoveryv1.EndpointSlice, node *Node) *port {
	protocol, known := protocols[p.Protocol]
	if p.Protocol == "" {
		protocol, known = unix.IPPROTO_TCP, true
	}
	if !known || !slices.ContainsFunc(addressesOf(s), func(a netip.Addr) bool { return a.Is4() == (family == corev1.IPv4Protocol) }) {
		return nil
	}
	x := &port{service: s, port: p, node: node, family: family, protocol: protocol}
	x.found = collect(endpoints, p, family, node)
	return x
}

func addressesOf(s *corev1.Service) (out []netip.Addr) {
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{s.Spec.ClusterIP}
	}
	return parse(ips)
}

// parse leaves out what is no address: nothing can be reached there.
func parse(texts []string) (out []netip.Addr) {
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, a.Unmap())
		}
	}
	return out
}

func (x *port) mine(a netip.Addr) bool { return a.Is4() == (x.family == corev1.IPv4Protocol) }

func (x *port) frontends() (out []Frontend) {
	base := Frontend{Protocol: x.protocol, Port: uint16(x.port.Port), V4: x.family == corev1.IPv4Protocol, Affinity: affinity(x.service), PortName: x.port.Name}
	inside := x.internal()
	for _, a := range addressesOf(x.service) {
		if x.mine(a) {
			f := base
			f.Kind, f.Addr, f.Pool = ClusterIP, a, inside
			out = append(out, f)
		}
	}
	pool, outside := x.external()
	add := func(a netip.Addr, balancer bool, sources []netip.Prefix) {
		if x.mine(a) {
			f := base
			f.Kind, f.Addr, f.Pool, f.Outside, f.Sources, f.Balancer = External, a, pool, outside, sources, balancer
			out = append(out, f)
		}
	}
	for _, a := range parse(x.service.Spec.ExternalIPs) {
		add(a, false, nil)
	}
	sources := x.sources()
	for _, in := range x.service.Status.LoadBalancer.Ingress {
		// A load balancer that does more than pass packets on is the only way in.
		if in.IPMode != nil && *in.IPMode != corev1.LoadBalancerIPModeVIP {
			continue
		}
		for _, a := range parse([]string{in.IP}) {
			add(a, true, sources)
		}
	}
	has := x.node.NodePortsV6
	if base.V4 {
		has = x.node.NodePortsV4
	}
	if x.port.NodePort != 0 && has {
		f := base
		f.Kind, f.Port, f.Pool, f.Outside = NodePort, uint16(x.port.NodePort), pool, outside
		out = append(out, f)
	}
	return out
}

func affinity(s *corev1.Service) time.Duration {
	if s.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		return time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
	}
	return time.Duration(corev1.DefaultClientIPServiceAffinitySeconds) * time.Second
}

// sources of a load balancer's clients; nil for all. Ranges of the other
// family alone let nobody of this one in.
func (x *port) sources() []netip.Prefix {
	ranges := x.service.Spec.LoadBalancerSourceRanges
	if len(ranges) == 0 {
		return nil
	}
	out := []netip.Prefix{}
	for _, text := range ranges {
		p, err := netip.ParsePrefix(text)
		if err != nil || !x.mine(p.Addr()) {
			continue
		}
		if p.Bits() == 0 {
			return nil
		}
		out = append(out, p.Masked())
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return slices.Compact(out)
}

// internal is the pool of the cluster IPs.
func (x *port) internal() Pool {
	masquerade := OffCluster
	if x.node.MasqueradeAll {
		masquerade = Always
	}
	if p := x.service.Spec.InternalTrafficPolicy; p != nil && *p == corev1.ServiceInternalTrafficPolicyLocal {
		pool := x.found.local()
		pool.Masquerade = masquerade
		return pool
	}
	return Pool{Backends: x.found.cluster(), Masquerade: masquerade}
}

// external are the pools of all other frontends: of all clients, or of those
// inside the cluster with another one for those outside.
func (x *port) external() (Pool, *Pool) {
	all := Pool{Backends: x.found.cluster(), Masquerade: Always}
	if !outsideLocal(x.service) {
		return all, nil
	}
	// Inside the cluster the policy does not apply: pods reach all endpoints
	// with their own address, and the node's masquerade hides only others.
	all.Masquerade = OffCluster
	outside := x.found.local()
	return all, &outside
}
