// Package nodeaffinity lets pods choose nodes by labels.
package nodeaffinity

import (
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/plugins/nodeselector"
)

// Name of the plugin.
const Name = "NodeAffinity"

// Plugin implements Filter and Score.
type Plugin struct {
	// Added is affinity that all pods of the profile have.
	Added *corev1.NodeAffinity
}

// Name implements framework.Plugin.
func (*Plugin) Name() string { return Name }

var (
	rejected = framework.NewStatus(Name, framework.Unresolvable, "node(s) didn't match Pod's node affinity/selector")
	enforced = framework.NewStatus(Name, framework.Unresolvable, "node(s) didn't match scheduler-enforced node affinity")
)

type filter struct {
	spec  *corev1.PodSpec
	added *corev1.NodeSelector
}

func (f *filter) Filter(n *cache.Node) *framework.Status {
	if f.added != nil && !nodeselector.Matches(f.added, n.Obj) {
		return enforced
	}
	if !nodeselector.Required(f.spec, n.Obj) {
		return rejected
	}
	return nil
}

func (pl *Plugin) required() *corev1.NodeSelector {
	if pl.Added == nil {
		return nil
	}
	return pl.Added.RequiredDuringSchedulingIgnoredDuringExecution
}

// PreFilter implements framework.PreFilterer.
func (pl *Plugin) PreFilter(_ *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	spec := &p.Obj.Spec
	own := nodeselector.RequiredSelector(spec)
	if own == nil && len(spec.NodeSelector) == 0 && pl.required() == nil {
		return framework.Compiled{}, framework.NewStatus(Name, framework.Skip)
	}
	out := framework.Compiled{Filter: &filter{spec, pl.required()}, Static: true}
	if own != nil && len(own.NodeSelectorTerms) > 0 {
		out.Nodes = nodeselector.Names(own)
		if out.Nodes != nil && len(out.Nodes) == 0 {
			return framework.Compiled{}, framework.NewStatus(Name, framework.Unresolvable, "pod affinity terms conflict")
		}
	}
	return out, nil
}

// PreScore implements framework.PreScorer.
func (pl *Plugin) PreScore(_ *cache.Cluster, p *cache.Pod) (framework.Scored, *framework.Status) {
	f := &facet{}
	if pl.Added != nil {
		f.terms = append(f.terms, pl.Added.PreferredDuringSchedulingIgnoredDuringExecution...)
	}
	if a := p.Obj.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		f.terms = append(f.terms, a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution...)
	}
	if len(f.terms) == 0 {
		return framework.Scored{}, framework.NewStatus(Name, framework.Skip)
	}
	f.Count = f.sum
	return framework.Scored{Facet: f}, nil
}

type facet struct {
	framework.Counted
	terms []corev1.PreferredSchedulingTerm
}

func (f *facet) sum(n *cache.Node) int64 {
	sum := int64(0)
	for i := range f.terms {
		if f.terms[i].Weight != 0 && nodeselector.Term(&f.terms[i].Preference, n.Obj) {
			sum += int64(f.terms[i].Weight)
		}
	}
	return sum
}

// ScoreKeys implements framework.ScoreFacet.
func (f *facet) ScoreKeys(groups []framework.Group, scores []int64) {
	f.Normalize(groups, scores, false)
}

// Events implements framework.Enqueuer.
func (pl *Plugin) Events() []framework.EventHint {
	return []framework.EventHint{{Object: framework.Node, Action: framework.Add | framework.UpdateNodeLabel, Hint: pl.matches}}
}

func (pl *Plugin) matches(_ *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
	n, ok := e.New.(*corev1.Node)
	if !ok {
		return framework.Queue
	}
	match := func(n *corev1.Node) bool {
		return (pl.required() == nil || nodeselector.Matches(pl.required(), n)) && nodeselector.Required(&p.Obj.Spec, n)
	}
	was, had := e.Old.(*corev1.Node)
	return framework.Hint(match(n) && (!had || !match(was)))
}
