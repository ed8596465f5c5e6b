package interpodaffinity

import (
	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// source is pods that count, by node: those a selector means, or the owners
// of a term.
type source struct {
	count  *cache.Counter
	owner  *cache.OwnerTerm
	weight int64
}

func (s *source) at(i int32) int64 {
	if s.count != nil {
		return s.weight * int64(s.count.Count[i])
	}
	return s.weight * int64(s.owner.Count[i])
}

// aggregate is the sum of sources over the domains of a topology.
type aggregate struct {
	topology *cache.Topology
	sources  []source
	// single: a domain is a node; parts are sums then, else domains.
	single bool
	part   int // index of this aggregate's part in a key

	added  []int64 // by node: what it adds at present
	domain []int32 // by node: to which domain
	sums   []int64 // by domain, unless single
	total  int64   // of absolute values added
	values []int64 // single: the sums that parts stand for
	ids    map[int64]int32
}

func (a *aggregate) update(i int32, there bool) int32 {
	for int(i) >= len(a.added) {
		a.added = append(a.added, 0)
		a.domain = append(a.domain, -1)
	}
	d, now := int32(-1), int64(0)
	if there {
		d = a.topology.Domain[i]
	}
	if d >= 0 {
		for j := range a.sources {
			now += a.sources[j].at(i)
		}
	}
	if was := a.added[i]; was != now || a.domain[i] != d {
		a.total += abs(now) - abs(was)
		if !a.single {
			a.sum(a.domain[i], -was)
			a.sum(d, now)
		}
		a.added[i], a.domain[i] = now, d
	}
	if d < 0 || !a.single {
		return d
	}
	return a.id(now)
}

func (a *aggregate) sum(domain int32, by int64) {
	if domain < 0 || by == 0 {
		return
	}
	for int(domain) >= len(a.sums) {
		a.sums = append(a.sums, 0)
	}
	a.sums[domain] += by
}

func (a *aggregate) id(v int64) int32 {
	id, ok := a.ids[v]
	if !ok {
		id = int32(len(a.values))
		a.ids[v] = id
		a.values = append(a.values, v)
	}
	return id
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}

// labelled reports whether the key is of nodes that have the label.
func (a *aggregate) labelled(parts []int32) bool { return parts[a.part] >= 0 }

// at is the sum where the key says; 0 without the label.
func (a *aggregate) at(parts []int32) int64 {
	p := parts[a.part]
	switch {
	case p < 0:
		return 0
	case a.single:
		return a.values[p]
	case int(p) < len(a.sums):
		return a.sums[p]
	}
	return 0
}

// facet is what filter and score have in common.
type facet struct {
	c        *cache.Cluster
	list     []*aggregate
	counters []*cache.Counter
	parts    *framework.Parts
	tuple    []int32
	shared   map[*cache.Topology]int // part of a topology that is not single
}

func newFacet(c *cache.Cluster) facet {
	return facet{c: c, parts: framework.NewParts(), shared: map[*cache.Topology]int{}}
}

func (f *facet) counter(terms []cache.Term) *cache.Counter {
	k := f.c.CounterOf(terms, false)
	f.counters = append(f.counters, k)
	return k
}

func (f *facet) aggregate(key string, sources ...source) *aggregate {
	t := f.c.Topology(key)
	a := &aggregate{topology: t, sources: sources, single: t.Single(), ids: map[int64]int32{}}
	f.list = append(f.list, a)
	return a
}

// begin gives each aggregate its part. Those of one topology share it: nodes
// of a domain are alike to all of them.
func (f *facet) begin() {
	size := 0
	for _, a := range f.list {
		if at, ok := f.shared[a.topology]; ok && !a.single {
			a.part = at
			continue
		}
		a.part = size
		if !a.single {
			f.shared[a.topology] = size
		}
		size++
	}
	f.tuple = make([]int32, size)
}

// Update implements framework.Facet.
func (f *facet) Update(n *cache.Node, _ bool) int32 {
	for _, a := range f.list {
		f.tuple[a.part] = a.update(n.Index, true)
	}
	return f.parts.Key(f.tuple)
}

// Remove implements framework.Facet.
func (f *facet) Remove(i int32) {
	for _, a := range f.list {
		a.update(i, false)
	}
}

// Everywhere implements framework.Facet.
func (f *facet) Everywhere() bool { return true }

// Close implements framework.Facet.
func (f *facet) Close() {
	for _, k := range f.counters {
		f.c.Release(k)
	}
}
