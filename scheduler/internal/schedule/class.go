package schedule

import (
	"slices"
	"strconv"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// maxFacets is how many facets of its class a group's key has room for.
const maxFacets = 12

type groupKey [maxFacets]int32

// class is what is known about pods that are alike: which nodes pass the
// filters, in groups that score alike but for the node's own score. It is
// brought up to date by the cluster's log of changed nodes.
type class struct {
	cluster *cache.Cluster
	profile *framework.Profile
	// pod stands for all of the class.
	pod  *cache.Pod
	era  int
	used uint64 // when last, for eviction

	// reject rejects the pods everywhere.
	reject *framework.Status
	// only, when not nil, names the nodes in question; elsewhere is what the
	// others are told.
	only      map[string]bool
	elsewhere *framework.Status

	static, dynamic []namedFilter
	scores          []weightedScore
	facets          []facet
	everywhere      bool // some facet is

	position int
	rows     []row          // by node index
	few      map[int32]*row // instead of rows when few nodes are in question
	groups   map[groupKey]*group
	list     []*group
	rejected map[*framework.Status]int // nodes by verdict, but for groups'

	view view // scratch of choose

	observer  Observer // nil: nobody is told
	asked     []asked
	decisions int // since the observer was told
	looked    uint
}

type namedFilter struct {
	framework.NodeFilter
	plugin string
}

type weightedScore struct {
	framework.NodeScore
	plugin string
	weight int64
}

// facet is a filter's or a score's, or both a filter's and a score's of one
// plugin.
type facet struct {
	framework.Facet
	filter framework.FilterFacet
	score  framework.ScoreFacet
	plugin string
	weight int64
}

// row is one node as the class sees it.
type row struct {
	gen, static uint64
	known       bool
	group       *group // nil while a filter rejects the node
	at          int32  // in the group's heap
	score       int32  // of the node itself, weighted
	// fixed is the verdict of static filters, status of all but facets.
	fixed, status *framework.Status
	key           groupKey
}

// compile asks the profile's plugins about pods like p.
func compile(c *cache.Cluster, profile *framework.Profile, p *cache.Pod, o Observer) *class {
	for {
		k := &class{cluster: c, profile: profile, pod: p, observer: o, era: c.Era, groups: map[groupKey]*group{}, rejected: map[*framework.Status]int{}}
		k.point(preFilterPoint, k.filters)
		// Where one node alone is in question there is nothing to compare.
		if k.reject == nil && (k.only == nil || len(k.only) > 1) {
			k.point(preScorePoint, k.scorers)
		}
		// A selector that nobody asked before may have sorted pods anew.
		if c.Era == k.era {
			k.begin()
			return k
		}
		k.close()
	}
}

func (k *class) filters() {
	var by []string
	for _, f := range k.profile.Filters {
		var compiled framework.Compiled
		var st *framework.Status
		k.observed(f.Name(), preFilterPoint, func() *framework.Status {
			compiled, st = f.PreFilter(k.cluster, k.pod)
			return st
		})
		if compiled.Nodes != nil {
			k.narrow(compiled.Nodes)
			by = append(by, f.Name())
		}
		switch {
		case st.Is(framework.Skip):
			continue
		case st != nil:
			k.reject = st
			return
		}
		if compiled.Filter != nil || compiled.Facet != nil {
			k.asked = append(k.asked, asked{f.Name(), filterPoint})
		}
		if compiled.Filter != nil && compiled.Static {
			k.static = append(k.static, namedFilter{compiled.Filter, f.Name()})
		} else if compiled.Filter != nil {
			k.dynamic = append(k.dynamic, namedFilter{compiled.Filter, f.Name()})
		}
		if compiled.Facet != nil {
			k.addFacet(facet{Facet: compiled.Facet, filter: compiled.Facet, plugin: f.Name()})
		}
	}
	if k.only != nil {
		slices.Sort(by)
		text := "node(s) didn't satisfy plugin(s) ["
		for i, name := range by {
			if i > 0 {
				text += " "
			}
			text += name
		}
		k.elsewhere = framework.NewStatus(by[0], framework.Unresolvable, text+"]")
		if len(k.only) == 0 {
			k.reject = framework.NewStatus(by[0], framework.Unresolvable, "node(s) didn't satisfy plugin(s) "+text[len("node(s) didn't satisfy plugin(s) "):]+"] simultaneously")
		}
	}
}

func (k *class) narrow(names []string) {
	now := map[string]bool{}
	for _, name := range names {
		if k.only == nil || k.only[name] {
			now[name] = true
		}
	}
	k.only = now
}

func (k *class) scorers() {
	for _, s := range k.profile.Scores {
		var scored framework.Scored
		var st *framework.Status
		k.observed(s.Name(), preScorePoint, func() *framework.Status {
			scored, st = s.PreScore(k.cluster, k.pod)
			return st
		})
		if st != nil && !st.Is(framework.Skip) {
			k.reject = st
			return
		}
		if scored.Score != nil || scored.Facet != nil {
			k.asked = append(k.asked, asked{s.Name(), scorePoint})
		}
		if scored.Score != nil {
			k.scores = append(k.scores, weightedScore{scored.Score, s.Name(), s.Weight})
		}
		if scored.Facet != nil {
			k.addFacet(facet{Facet: scored.Facet, score: scored.Facet, plugin: s.Name(), weight: s.Weight})
		}
	}
}

func (k *class) addFacet(f facet) {
	if len(k.facets) == maxFacets {
		k.reject = framework.Errorf("", "more than %d filters and scores that compare nodes", maxFacets)
		return
	}
	k.facets = append(k.facets, f)
	k.everywhere = k.everywhere || f.Everywhere()
}

func (k *class) close() {
	for _, f := range k.facets {
		f.Close()
	}
}

// begin looks at all nodes.
func (k *class) begin() {
	k.position = k.cluster.Touched()
	if k.reject != nil {
		return
	}
	if k.only != nil && !k.everywhere {
		k.few = map[int32]*row{}
		for name := range k.only {
			if n := k.cluster.Node(name); n != nil {
				k.refresh(n.Index)
			}
		}
		return
	}
	k.rows = make([]row, k.cluster.Size())
	for i := range k.rows {
		k.refresh(int32(i))
	}
}

// sync looks at the nodes changed since last time. It is false when the class
// has to be made anew.
func (k *class) sync() bool {
	if k.era != k.cluster.Era {
		return false
	}
	changed, ok := k.cluster.Since(k.position)
	if !ok {
		return false
	}
	if k.reject == nil {
		for k.few == nil && len(k.rows) < k.cluster.Size() {
			k.rows = append(k.rows, row{})
		}
		for _, i := range changed {
			k.refresh(i)
		}
	}
	k.position = k.cluster.Touched()
	return true
}

// row finds a node's row; nil for one that is out of the question.
func (k *class) row(i int32) *row {
	if k.few == nil {
		return &k.rows[i]
	}
	if r := k.few[i]; r != nil {
		return r
	}
	if n := k.cluster.At(i); n == nil || !k.only[n.Name] {
		return nil
	}
	r := &row{}
	k.few[i] = r
	return r
}

// refresh looks at a node again.
func (k *class) refresh(i int32) {
	r := k.row(i)
	if r == nil {
		return
	}
	n := k.cluster.At(i)
	if n == nil || k.few != nil && !k.only[n.Name] {
		k.drop(i, r)
		return
	}
	if r.known && r.gen == n.Gen {
		return
	}
	was := r.status
	static := !r.known || r.static != n.Static
	if static {
		r.fixed = k.fixed(n)
	}
	status := r.fixed
	if status == nil {
		status = k.moving(n)
	}
	key := r.key
	for j := range k.facets {
		if status == nil || k.facets[j].Everywhere() {
			key[j] = k.facets[j].Update(n, static || r.status != nil)
		}
	}
	if status == nil {
		k.enter(i, r, key, k.own(n))
	} else if r.group != nil {
		k.leave(r)
	}
	r.key = key
	if r.known && was != nil {
		k.uncount(was)
	}
	if status != nil {
		k.rejected[status]++
	}
	r.known, r.gen, r.static, r.status = true, n.Gen, n.Static, status
	if k.looked++; k.looked%sampleEvery == 0 && status == nil && k.observer != nil {
		k.sample(r, i)
	}
}

func (k *class) uncount(s *framework.Status) {
	if k.rejected[s]--; k.rejected[s] == 0 {
		delete(k.rejected, s)
	}
}

// drop forgets a node.
func (k *class) drop(i int32, r *row) {
	if !r.known {
		return
	}
	if r.group != nil {
		k.leave(r)
	}
	if r.status != nil {
		k.uncount(r.status)
	}
	for j := range k.facets {
		k.facets[j].Remove(i)
	}
	*r = row{}
	if k.few != nil {
		delete(k.few, i)
	}
}

// fixed is the verdict that depends on the node's object alone.
func (k *class) fixed(n *cache.Node) *framework.Status {
	if k.only != nil && !k.only[n.Name] {
		return k.elsewhere
	}
	for _, f := range k.static {
		if st := f.Filter(n); st != nil {
			return st
		}
	}
	return nil
}

// moving is the verdict of filters that look at the pods of a node, those
// nominated to it among them.
func (k *class) moving(n *cache.Node) (st *framework.Status) {
	if waiting := k.nominated(n, nil); len(waiting) > 0 {
		k.cluster.With(waiting, n, func() { st = k.local(n) })
		if st != nil {
			return st
		}
	}
	return k.local(n)
}

func (k *class) local(n *cache.Node) *framework.Status {
	for _, f := range k.dynamic {
		if st := f.Filter(n); st != nil {
			return st
		}
	}
	return nil
}

// nominated is the pods that have a claim to the node before pods of the
// class; but nobody stands in their own way.
func (k *class) nominated(n *cache.Node, but *cache.Pod) []*cache.Pod {
	var out []*cache.Pod
	for _, p := range n.Nominated {
		if p.Priority() >= k.pod.Priority() && (but == nil || p.UID != but.UID) {
			out = append(out, p)
		}
	}
	return out
}

// own is the node's own score.
func (k *class) own(n *cache.Node) int32 {
	sum := int64(0)
	for i := range k.scores {
		sum += k.scores[i].Score(n) * k.scores[i].weight
	}
	return int32(sum)
}

// verdict is why a node does not do, nil when it does.
func (k *class) verdict(n *cache.Node) *framework.Status {
	if k.reject != nil {
		// Nothing was compiled that could tell whether evictions help.
		return framework.NewStatus(k.reject.Plugin, framework.Unresolvable, k.reject.Reasons...)
	}
	r := k.row(n.Index)
	if r == nil {
		return k.elsewhere
	}
	if r.status != nil {
		return r.status
	}
	return k.judge(&r.key)
}

// judge is the verdict of facets on a group's key.
func (k *class) judge(key *groupKey) *framework.Status {
	for j := range k.facets {
		if f := k.facets[j].filter; f != nil {
			if st := f.FilterKey(key[j]); st != nil {
				return st
			}
		}
	}
	return nil
}

// fits evaluates a node as the cluster is at this moment, in the midst of a
// what-if. settle must follow once the what-if is over.
func (k *class) fits(n *cache.Node, p *cache.Pod) (st *framework.Status) {
	if waiting := k.nominated(n, p); len(waiting) > 0 {
		k.cluster.With(waiting, n, func() { st = k.fitsNow(n) })
		if st != nil {
			return st
		}
	}
	return k.fitsNow(n)
}

func (k *class) fitsNow(n *cache.Node) *framework.Status {
	if st := k.fixed(n); st != nil {
		return st
	}
	if st := k.local(n); st != nil {
		return st
	}
	for j := range k.facets {
		if f := k.facets[j].filter; f != nil {
			if st := f.FilterKey(f.Update(n, true)); st != nil {
				return st
			}
		}
	}
	return nil
}

// settle lets facets see a node as it is again.
func (k *class) settle(n *cache.Node) {
	for j := range k.facets {
		if k.facets[j].filter != nil {
			k.facets[j].Update(n, true)
		}
	}
}

// signature of pods that are alike; ok is false for one like no other.
func signature(b []byte, c *cache.Cluster, profile *framework.Profile, p *cache.Pod) (_ []byte, ok bool) {
	b = append(b, profile.Name...)
	b = strconv.AppendInt(append(b, '/'), int64(p.Shape.ID), 36)
	b = strconv.AppendInt(append(b, '/'), int64(c.LabelsOf(p).ID), 36)
	for _, s := range profile.Signers {
		text, ok := s.Sign(c, p)
		if !ok {
			return b, false
		}
		b = append(append(b, 0), text...)
	}
	return b, true
}
