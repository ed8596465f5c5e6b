// Package podtopologyspread spreads pods over zones, nodes and whatever else
// labels of nodes tell apart.
package podtopologyspread

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Name of the plugin.
const Name = "PodTopologySpread"

// Plugin implements Filter and Score.
type Plugin struct {
	// Defaults are the constraints of pods that have none, for which Selects
	// finds a selector.
	Defaults []corev1.TopologySpreadConstraint
	// System is set when Defaults are the built-in ones: then a node need not
	// have all their keys.
	System bool
	// Selects is the selector of the services and the owner of a pod; nil
	// when there is none.
	Selects func(c *cache.Cluster, p *cache.Pod) labels.Selector
}

// Name implements framework.Plugin.
func (*Plugin) Name() string { return Name }

var (
	skewed  = framework.NewStatus(Name, framework.Unschedulable, "node(s) didn't match pod topology spread constraints")
	missing = framework.NewStatus(Name, framework.Unresolvable, "node(s) didn't match pod topology spread constraints (missing required label)")
)

// Sign implements framework.Signer: defaults depend on services and owners.
func (pl *Plugin) Sign(c *cache.Cluster, p *cache.Pod) (string, bool) {
	if len(p.Obj.Spec.TopologySpreadConstraints) > 0 || len(pl.Defaults) == 0 || pl.Selects == nil {
		return "", true
	}
	if s := pl.Selects(c, p); s != nil {
		return s.String(), true
	}
	return "", true
}

// constraints of a pod that hold in one of the two ways.
func (pl *Plugin) constraints(c *cache.Cluster, p *cache.Pod, action corev1.UnsatisfiableConstraintAction) (out []*constraint, own bool) {
	list := p.Obj.Spec.TopologySpreadConstraints
	own = len(list) > 0
	var selector labels.Selector
	if !own && len(pl.Defaults) > 0 && pl.Selects != nil {
		if selector = pl.Selects(c, p); selector == nil {
			return nil, false
		}
		list = pl.Defaults
	}
	for i := range list {
		t := &list[i]
		if t.WhenUnsatisfiable != action {
			continue
		}
		s := selector
		if own {
			s = cache.Selector(t.LabelSelector)
		}
		out = append(out, newConstraint(c, p, p.Obj.Namespace, t, s))
	}
	return out, own
}

// facet is what filter and score have in common.
type facet struct {
	c    *cache.Cluster
	spec *corev1.PodSpec
	list []*constraint
	// all: only nodes with all keys count.
	all   bool
	parts *framework.Parts
	tuple []int32
	// included by node index, a bit per constraint; by the node's object.
	included []uint64
}

func newFacet(c *cache.Cluster, p *cache.Pod, list []*constraint, all bool) facet {
	return facet{c: c, spec: &p.Obj.Spec, list: list, all: all, parts: framework.NewParts(), tuple: make([]int32, len(list))}
}

// Update implements framework.Facet.
func (f *facet) Update(n *cache.Node, static bool) int32 {
	for int(n.Index) >= len(f.included) {
		f.included = append(f.included, 0)
	}
	if static {
		f.included[n.Index] = f.inclusion(n)
	}
	bits := f.included[n.Index]
	for i, k := range f.list {
		k.update(n.Index, bits&(1<<i) != 0)
		f.tuple[i] = k.part(n.Index)
	}
	return f.parts.Key(f.tuple)
}

func (f *facet) inclusion(n *cache.Node) (bits uint64) {
	if f.all {
		for _, k := range f.list {
			if k.topology.Domain[n.Index] < 0 {
				return 0
			}
		}
	}
	for i, k := range f.list {
		if k.includes(f.spec, n.Obj) {
			bits |= 1 << i
		}
	}
	return bits
}

// Remove implements framework.Facet.
func (f *facet) Remove(i int32) {
	for _, k := range f.list {
		k.update(i, false)
	}
}

// Everywhere implements framework.Facet.
func (f *facet) Everywhere() bool { return true }

// Close implements framework.Facet.
func (f *facet) Close() {
	for _, k := range f.list {
		f.c.Release(k.pods)
	}
}

type filterFacet struct{ facet }

// PreFilter implements framework.PreFilterer.
func (pl *Plugin) PreFilter(c *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	list, _ := pl.constraints(c, p, corev1.DoNotSchedule)
	if len(list) == 0 {
		return framework.Compiled{}, framework.NewStatus(Name, framework.Skip)
	}
	return framework.Compiled{Facet: &filterFacet{newFacet(c, p, list, true)}}, nil
}

// FilterKey implements framework.FilterFacet.
func (f *filterFacet) FilterKey(key int32) *framework.Status {
	for i, part := range f.parts.Of(key) {
		k := f.list[i]
		if part < 0 {
			return missing
		}
		if k.at(part)+k.self-k.least() > k.maxSkew {
			return skewed
		}
	}
	return nil
}

type scoreFacet struct {
	facet
	hostname []bool

	raw   []float64
	sizes []map[int32]bool
}

// PreScore implements framework.PreScorer.
func (pl *Plugin) PreScore(c *cache.Cluster, p *cache.Pod) (framework.Scored, *framework.Status) {
	list, own := pl.constraints(c, p, corev1.ScheduleAnyway)
	if len(list) == 0 {
		return framework.Scored{}, framework.NewStatus(Name, framework.Skip)
	}
	f := &scoreFacet{facet: newFacet(c, p, list, own || !pl.System)}
	for _, k := range list {
		hostname := k.topology.Key == corev1.LabelHostname
		f.hostname = append(f.hostname, hostname)
		f.sizes = append(f.sizes, map[int32]bool{})
		// A host is a host, even when two share a name.
		k.single = k.single || hostname
	}
	return framework.Scored{Facet: f}, nil
}

// ScoreKeys implements framework.ScoreFacet.
func (f *scoreFacet) ScoreKeys(groups []framework.Group, scores []int64) {
	weights := f.weights(groups)
	f.raw = f.raw[:0]
	least, most := int64(math.MaxInt64), int64(0)
	for i := range groups {
		if f.ignores(groups[i].Key) {
			scores[i] = -1
			continue
		}
		sum := 0.0
		for j, part := range f.parts.Of(groups[i].Key) {
			if part >= 0 {
				sum += float64(f.list[j].at(part))*weights[j] + float64(f.list[j].maxSkew-1)
			}
		}
		scores[i] = int64(math.Round(sum))
		least, most = min(least, scores[i]), max(most, scores[i])
	}
	for i := range scores {
		switch {
		case scores[i] < 0:
			scores[i] = 0
		case most == 0:
			scores[i] = framework.MaxScore
		default:
			scores[i] = framework.MaxScore * (most + least - scores[i]) / most
		}
	}
}

// ignores nodes that lack a key, where all are required.
func (f *scoreFacet) ignores(key int32) bool {
	if f.all {
		for _, part := range f.parts.Of(key) {
			if part < 0 {
				return true
			}
		}
	}
	return false
}

// weights of constraints grow with the number of domains among the nodes in
// question, so that zones weigh no more than hosts.
func (f *scoreFacet) weights(groups []framework.Group) []float64 {
	nodes := 0
	for i := range f.sizes {
		clear(f.sizes[i])
	}
	singles := make([]int, len(f.list))
	for i := range groups {
		if f.ignores(groups[i].Key) {
			continue
		}
		nodes += groups[i].Nodes
		for j, part := range f.parts.Of(groups[i].Key) {
			switch {
			case f.hostname[j]:
			case f.list[j].single && part >= 0:
				singles[j] += groups[i].Nodes
			default:
				f.sizes[j][part] = true
			}
		}
	}
	out := make([]float64, len(f.list))
	for j := range f.list {
		size := len(f.sizes[j]) + singles[j]
		if f.hostname[j] {
			size = nodes
		}
		out[j] = math.Log(float64(size + 2))
	}
	return out
}
