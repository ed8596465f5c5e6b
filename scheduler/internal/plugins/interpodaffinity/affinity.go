// Package interpodaffinity places pods near other pods, or away from them.
package interpodaffinity

import (
	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Name of the plugin.
const Name = "InterPodAffinity"

// Plugin implements Filter and Score.
type Plugin struct {
	// HardWeight counts required affinity of existing pods as a preference.
	HardWeight int64
	// IgnorePreferred leaves out what existing pods prefer, for newcomers
	// that prefer nothing themselves.
	IgnorePreferred bool
}

// Name implements framework.Plugin.
func (*Plugin) Name() string { return Name }

var (
	affinityFailed = framework.NewStatus(Name, framework.Unresolvable, "node(s) didn't match pod affinity rules")
	antiFailed     = framework.NewStatus(Name, framework.Unschedulable, "node(s) didn't match pod anti-affinity rules")
	existingFailed = framework.NewStatus(Name, framework.Unschedulable, "node(s) didn't satisfy existing pods anti-affinity rules")
)

// concerned is the terms of existing pods, of some kinds, that mean p's labels.
func concerned(c *cache.Cluster, p *cache.Pod, kinds ...cache.Kind) []*cache.OwnerTerm {
	var out []*cache.OwnerTerm
	set := c.LabelsOf(p)
	for _, o := range c.Owners() {
		for _, k := range kinds {
			if o.Kind == k && c.Concerns(o, set) {
				out = append(out, o)
			}
		}
	}
	return out
}

// Sign implements framework.Signer: the newest term of an existing pod that
// concerns p. A class made before it must not be used.
func (pl *Plugin) Sign(c *cache.Cluster, p *cache.Pod) (string, bool) {
	return string(c.ConcernedUpTo(p)), true
}

// PreFilter implements framework.PreFilterer.
func (pl *Plugin) PreFilter(c *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	f := &filterFacet{facet: newFacet(c)}
	if terms := p.Shape.Affinity; len(terms) > 0 {
		all := make([]cache.Term, len(terms))
		for i := range terms {
			all[i] = terms[i].Term
		}
		pods := f.counter(all)
		f.first = true
		for i := range terms {
			f.first = f.first && c.Matches(&all[i], c.LabelsOf(p))
		}
		for i := range terms {
			f.affinity = append(f.affinity, f.aggregate(terms[i].Key, source{count: pods, weight: 1}))
		}
	}
	for i := range p.Shape.AntiAffinity {
		t := &p.Shape.AntiAffinity[i]
		f.anti = append(f.anti, f.aggregate(t.Key, source{count: f.counter([]cache.Term{t.Term}), weight: 1}))
	}
	byKey := map[string]*aggregate{}
	for _, o := range concerned(c, p, cache.RequiredAnti) {
		a := byKey[o.Term.Key]
		if a == nil {
			a = f.aggregate(o.Term.Key)
			byKey[o.Term.Key] = a
			f.existing = append(f.existing, a)
		}
		a.sources = append(a.sources, source{owner: o, weight: 1})
	}
	if len(f.list) == 0 {
		return framework.Compiled{}, framework.NewStatus(Name, framework.Skip)
	}
	f.begin()
	return framework.Compiled{Facet: f}, nil
}

type filterFacet struct {
	facet
	affinity, anti, existing []*aggregate
	// first: a pod that means itself may be the first of its group.
	first bool
}

// FilterKey implements framework.FilterFacet.
func (f *filterFacet) FilterKey(key int32) *framework.Status {
	parts := f.parts.Of(key)
	if st := f.near(parts); st != nil {
		return st
	}
	for _, a := range f.anti {
		if a.at(parts) > 0 {
			return antiFailed
		}
	}
	for _, a := range f.existing {
		if a.at(parts) > 0 {
			return existingFailed
		}
	}
	return nil
}

func (f *filterFacet) near(parts []int32) *framework.Status {
	satisfied, none := true, true
	for _, a := range f.affinity {
		if !a.labelled(parts) {
			return affinityFailed
		}
		satisfied = satisfied && a.at(parts) > 0
		none = none && a.total == 0
	}
	if satisfied || none && f.first {
		return nil
	}
	return affinityFailed
}

// PreScore implements framework.PreScorer.
func (pl *Plugin) PreScore(c *cache.Cluster, p *cache.Pod) (framework.Scored, *framework.Status) {
	f := &scoreFacet{facet: newFacet(c), byKey: map[string]*aggregate{}}
	s := p.Shape
	for i := range s.PreferAffinity {
		t := &s.PreferAffinity[i]
		f.add(t.Key, source{count: f.counter([]cache.Term{t.Term}), weight: int64(t.Weight)})
	}
	for i := range s.PreferAntiAffinity {
		t := &s.PreferAntiAffinity[i]
		f.add(t.Key, source{count: f.counter([]cache.Term{t.Term}), weight: -int64(t.Weight)})
	}
	if len(f.list) > 0 || !pl.IgnorePreferred {
		for _, o := range concerned(c, p, cache.Required, cache.Preferred, cache.PreferredAnti) {
			if w := pl.weight(o); w != 0 {
				f.add(o.Term.Key, source{owner: o, weight: w})
			}
		}
	}
	if len(f.list) == 0 {
		return framework.Scored{}, framework.NewStatus(Name, framework.Skip)
	}
	f.begin()
	return framework.Scored{Facet: f}, nil
}

func (pl *Plugin) weight(o *cache.OwnerTerm) int64 {
	switch o.Kind {
	case cache.Required:
		return pl.HardWeight
	case cache.Preferred:
		return int64(o.Term.Weight)
	case cache.PreferredAnti:
		return -int64(o.Term.Weight)
	}
	return 0
}

type scoreFacet struct {
	facet
	byKey map[string]*aggregate
}

func (f *scoreFacet) add(key string, s source) {
	a := f.byKey[key]
	if a == nil {
		a = f.aggregate(key)
		f.byKey[key] = a
	}
	a.sources = append(a.sources, s)
}

// ScoreKeys implements framework.ScoreFacet.
func (f *scoreFacet) ScoreKeys(groups []framework.Group, scores []int64) {
	least, most := int64(0), int64(0)
	for i := range groups {
		parts := f.parts.Of(groups[i].Key)
		scores[i] = 0
		for _, a := range f.list {
			scores[i] += a.at(parts)
		}
		if i == 0 || scores[i] < least {
			least = scores[i]
		}
		if i == 0 || scores[i] > most {
			most = scores[i]
		}
	}
	for i := range scores {
		if most == least {
			scores[i] = 0
			continue
		}
		scores[i] = int64(framework.MaxScore * (float64(scores[i]-least) / float64(most-least)))
	}
}
