package compile

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// candidates are the endpoints of one port that may be used at all.
type candidates struct {
	near, all []Backend // ready; near the node, by hints
	draining  []Backend // terminating, and still serving
}

type candidate struct {
	Backend
	endpoint *discoveryv1.Endpoint
}

// collect reads slices: each address once, whichever slice says so.
func collect(endpoints []*discoveryv1.EndpointSlice, p *corev1.ServicePort, family corev1.IPFamily, node *Node) candidates {
	most := 0
	for _, slice := range endpoints {
		most += len(slice.Endpoints)
	}
	up := make([]candidate, 0, most)
	var out candidates
	for _, slice := range endpoints {
		number, ok := portOf(slice, p)
		if !ok || string(slice.AddressType) != string(family) {
			continue
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if len(e.Addresses) == 0 {
				continue
			}
			a, err := netip.ParseAddr(e.Addresses[0])
			if err != nil {
				continue
			}
			b := Backend{Endpoint{a.As16(), number}, isLocal(e, node)}
			switch {
			case ready(e):
				up = append(up, candidate{b, e})
			case serving(e) && terminating(e):
				out.draining = append(out.draining, b)
			}
		}
	}
	byAddress := func(a, b Backend) int { return a.Compare(b.Endpoint) }
	// What several slices say of an address, the first says.
	slices.SortStableFunc(up, func(a, b candidate) int { return byAddress(a.Backend, b.Backend) })
	up = slices.CompactFunc(up, func(a, b candidate) bool { return a.Endpoint == b.Endpoint })
	slices.SortFunc(out.draining, byAddress)
	out.draining = slices.Compact(out.draining)
	out.all = make([]Backend, len(up))
	for i, c := range up {
		out.all[i] = c.Backend
	}
	out.near = near(up, node)
	return out
}

func portOf(slice *discoveryv1.EndpointSlice, p *corev1.ServicePort) (uint16, bool) {
	for i := range slice.Ports {
		q := &slice.Ports[i]
		name, protocol := "", corev1.ProtocolTCP
		if q.Name != nil {
			name = *q.Name
		}
		if q.Protocol != nil {
			protocol = *q.Protocol
		}
		if name == p.Name && (protocol == p.Protocol || p.Protocol == "" && protocol == corev1.ProtocolTCP) && q.Port != nil {
			return uint16(*q.Port), true
		}
	}
	return 0, false
}

// Conditions that are absent count as Kubernetes says: ready and serving yes,
// terminating no.
func ready(e *discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }
func serving(e *discoveryv1.Endpoint) bool {
	if e.Conditions.Serving == nil {
		return ready(e)
	}
	return *e.Conditions.Serving
}
func terminating(e *discoveryv1.Endpoint) bool {
	return e.Conditions.Terminating != nil && *e.Conditions.Terminating
}
func isLocal(e *discoveryv1.Endpoint, node *Node) bool {
	return e.NodeName != nil && *e.NodeName == node.Name
}

// near are the endpoints that hints give to this node: to the node by name,
// else to its zone. Hints of a sort that are not on every endpoint, or that
// leave the node with none, mean nothing.
func near(all []candidate, node *Node) []Backend {
	var byNode, byZone []Backend
	nodes, zones := true, true
	for _, c := range all {
		h := c.endpoint.Hints
		if h == nil {
			return nil
		}
		nodes, zones = nodes && len(h.ForNodes) > 0, zones && len(h.ForZones) > 0
		if slices.ContainsFunc(h.ForNodes, func(n discoveryv1.ForNode) bool { return n.Name == node.Name }) {
			byNode = append(byNode, c.Backend)
		}
		if node.Zone != "" && slices.ContainsFunc(h.ForZones, func(z discoveryv1.ForZone) bool { return z.Name == node.Zone }) {
			byZone = append(byZone, c.Backend)
		}
	}
	switch {
	case nodes && len(byNode) > 0:
		return byNode
	case zones:
		return byZone
	}
	return nil
}

// cluster are the backends without a policy: near ones, else all that are
// ready, else those that end but still serve.
func (c *candidates) cluster() []Backend {
	switch {
	case len(c.near) > 0:
		return c.near
	case len(c.all) > 0:
		return c.all
	}
	return c.draining
}

// local are the backends of the policy Local. Where the node has none but
// another one has, traffic is dropped: a load balancer will find it.
func (c *candidates) local() Pool {
	isLocal := func(all []Backend) (out []Backend) {
		for _, b := range all {
			if b.Local {
				out = append(out, b)
			}
		}
		return out
	}
	p := Pool{Backends: isLocal(c.all), Local: true}
	if len(p.Backends) == 0 {
		p.Backends = isLocal(c.draining)
	}
	if len(c.all)+len(c.draining) > 0 {
		p.Missing = Drop
	}
	return p
}
