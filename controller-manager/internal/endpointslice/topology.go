package endpointslice

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// overload is by how much more traffic than its share of the CPUs an endpoint
// of a zone may get when traffic stays in zones.
const overload = 0.2

// Messages about services that want to be kept in zones by capacity.
const (
	shared        = "Topology Aware Hints has been enabled"
	fewNodeFacts  = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
	oneZone       = "Nodes only ready in one zone"
	fewEndpoints  = "Insufficient number of endpoints"
	tooUneven     = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
	hintsEnabled  = "TopologyAwareHintsEnabled"
	hintsDisabled = "TopologyAwareHintsDisabled"
)

// ByCapacity reports whether a service wants each zone to have endpoints by its
// share of the CPUs. That goes before spec.trafficDistribution.
func ByCapacity(svc *corev1.Service) bool {
	v, ok := svc.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]
	if !ok {
		v = svc.Annotations[corev1.AnnotationTopologyMode]
	}
	return v == "Auto" || v == "auto"
}

// capacity is how much of the CPUs of all nodes each zone has; why says why
// that can't be told.
type capacity struct {
	zones map[string]float64
	why   string
}

// measure looks at the nodes that serve.
func measure(nodes iter.Seq[*corev1.Node]) capacity {
	cpus, sum := map[string]float64{}, 0.0
	for n := range nodes {
		if !serves(n) {
			continue
		}
		zone, cpu := n.Labels[corev1.LabelTopologyZone], n.Status.Allocatable.Cpu().AsApproximateFloat64()
		if zone == "" || cpu <= 0 {
			return capacity{why: fewNodeFacts}
		}
		cpus[zone] += cpu
		sum += cpu
	}
	if len(cpus) < 2 {
		return capacity{why: oneZone}
	}
	for z := range cpus {
		cpus[z] /= sum
	}
	return capacity{zones: cpus}
}

// serves reports whether a node is ready and runs ordinary pods.
func serves(n *corev1.Node) bool {
	for _, role := range []string{"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"} {
		if _, ok := n.Labels[role]; ok {
			return false
		}
	}
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// sameCapacity reports whether a node counts as before.
func sameCapacity(a, b *corev1.Node) bool {
	return serves(a) == serves(b) && a.Labels[corev1.LabelTopologyZone] == b.Labels[corev1.LabelTopologyZone] &&
		a.Status.Allocatable.Cpu().Cmp(*b.Status.Allocatable.Cpu()) == 0
}

// Sharing says how the endpoints of a family are shared among zones.
type Sharing struct {
	Family discoveryv1.AddressType
	// OK: each ready endpoint has a hint; otherwise Message says why none has.
	OK      bool
	Message string
}

// given is an endpoint that gets a hint.
type given struct {
	group *Group
	key   string
	zone  string // its own
	hint  string
	had   string // the hint it has had
}

func (e *given) name() string {
	t := e.group.Endpoints[e.key].TargetRef
	if t == nil {
		return e.key
	}
	return t.Name
}

// share gives hints to the ready endpoints of a family: of their own zones,
// but for as many as zones lack that have too few for their CPUs.
func share(f discoveryv1.AddressType, groups Groups, c capacity, have []*discoveryv1.EndpointSlice) Sharing {
	out := Sharing{Family: f}
	all := ready(groups, hintsOf(f, have))
	least, why := c.least(len(all))
	if why != "" {
		out.Message = fmt.Sprintf("%s, addressType: %s", why, f)
		return out
	}
	byZone := map[string][]*given{}
	for _, e := range all {
		byZone[e.zone] = append(byZone[e.zone], e)
	}
	for _, z := range slices.Sorted(maps.Keys(least)) {
		for n := least[z] - len(byZone[z]); n > 0; n-- {
			e := spare(byZone, least, c, len(all), z)
			if e == nil {
				break
			}
			byZone[e.hint] = slices.DeleteFunc(byZone[e.hint], func(o *given) bool { return o == e })
			e.hint = z
			byZone[z] = append(byZone[z], e)
		}
	}
	for _, e := range all {
		ep := e.group.Endpoints[e.key]
		ep.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: e.hint}}}
		e.group.Endpoints[e.key] = ep
	}
	out.OK, out.Message = true, fmt.Sprintf("%s, addressType: %s", shared, f)
	return out
}

// ready are the endpoints that get hints, in a stable order.
func ready(groups Groups, had map[string]string) []*given {
	var out []*given
	for _, g := range groups {
		for key, e := range g.Endpoints {
			if e.Conditions.Ready == nil || !*e.Conditions.Ready {
				continue
			}
			zone := value(e.Zone)
			out = append(out, &given{group: g, key: key, zone: zone, hint: zone, had: had[key]})
		}
	}
	slices.SortFunc(out, func(a, b *given) int { return cmp.Or(cmp.Compare(a.name(), b.name()), cmp.Compare(a.key, b.key)) })
	return out
}

func hintsOf(f discoveryv1.AddressType, have []*discoveryv1.EndpointSlice) map[string]string {
	out := map[string]string{}
	for _, s := range have {
		for i := range s.Endpoints {
			if h := s.Endpoints[i].Hints; s.AddressType == f && h != nil && len(h.ForZones) == 1 {
				out[endpointKey(&s.Endpoints[i])] = h.ForZones[0].Name
			}
		}
	}
	return out
}

// least is how many endpoints each zone needs; why says why it can't have them.
func (c capacity) least(endpoints int) (least map[string]int, why string) {
	switch {
	case c.why != "":
		return nil, c.why
	case endpoints < len(c.zones):
		return nil, fewEndpoints
	}
	least = map[string]int{}
	left := endpoints
	for z, part := range c.zones {
		least[z] = int(math.Ceil(part * float64(endpoints) / (1 + overload)))
		left -= least[z]
	}
	if left < 0 {
		return nil, tooUneven
	}
	return least, ""
}

// spare is an endpoint that another zone needs less: of a zone that has the
// most beyond its share, or of none; rather one that was lent before.
func spare(byZone map[string][]*given, least map[string]int, c capacity, endpoints int, to string) *given {
	from, most := "", 0.0
	for _, z := range slices.Sorted(maps.Keys(byZone)) {
		n := len(byZone[z])
		if z == to || n <= least[z] {
			continue
		}
		if more := float64(n) - c.zones[z]*float64(endpoints); from == "" || more > most {
			from, most = z, more
		}
	}
	candidates := byZone[from]
	if i := slices.IndexFunc(candidates, func(e *given) bool { return e.had == to }); i >= 0 {
		return candidates[i]
	}
	if len(candidates) == 0 {
		return nil
	}
	return candidates[len(candidates)-1]
}
