package schedule

import (
	"time"

	"xebec.dev/scheduler/internal/framework"
)

// Observer is told what decisions cost, and what they asked.
type Observer interface {
	// Point is how long all plugins of an extension point took.
	Point(point, status, profile string, d time.Duration)
	// Plugin is how long one plugin took; of filters and scores, which are
	// asked about nodes all the time, samples.
	Plugin(plugin, point, status string, d time.Duration)
	// Evaluated says that so many pods were put to a plugin.
	Evaluated(plugin, point, profile string, pods int)
}

// asked is a plugin that pods of a class are put to.
type asked struct{ plugin, point string }

// Extension points of decisions.
const (
	preFilterPoint = "PreFilter"
	filterPoint    = "Filter"
	preScorePoint  = "PreScore"
	scorePoint     = "Score"
)

// observed runs a plugin's share of a class and tells how long it took.
func (k *class) observed(plugin, point string, f func() *framework.Status) {
	k.asked = append(k.asked, asked{plugin, point})
	if k.observer == nil {
		f()
		return
	}
	began := time.Now()
	st := f()
	k.observer.Plugin(plugin, point, statusText(st), time.Since(began))
}

// point runs all plugins of an extension point.
func (k *class) point(name string, f func()) {
	if k.observer == nil {
		f()
		return
	}
	began := time.Now()
	f()
	k.observer.Point(name, statusText(k.reject), k.profile.Name, time.Since(began))
}

func statusText(st *framework.Status) string {
	if st == nil {
		return framework.Success.String()
	}
	return st.Code.String()
}

// decided notes that a pod was decided about by the class.
func (s *Scheduler) decided(k *class) {
	if k.decisions == 0 {
		s.dirty = append(s.dirty, k)
	}
	k.decisions++
}

// Flush tells the observer of the pods since the last time.
func (s *Scheduler) Flush() {
	for i, k := range s.dirty {
		for _, a := range k.asked {
			s.Observer.Evaluated(a.plugin, a.point, k.profile.Name, k.decisions)
		}
		k.decisions = 0
		s.dirty[i] = nil
	}
	s.dirty = s.dirty[:0]
}

// sampleEvery so many nodes looked at, the plugins are timed.
const sampleEvery = 1 << 12

// sample asks the plugins about a node once more, each by itself: what they
// say depends on nothing else, and the node passes.
func (k *class) sample(r *row, i int32) {
	n := k.cluster.At(i)
	timed := func(plugin, point string, f func()) {
		began := time.Now()
		f()
		k.observer.Plugin(plugin, point, framework.Success.String(), time.Since(began))
	}
	for _, list := range [][]namedFilter{k.static, k.dynamic} {
		for _, f := range list {
			timed(f.plugin, filterPoint, func() { f.Filter(n) })
		}
	}
	for j := range k.facets {
		f := &k.facets[j]
		if f.filter != nil {
			timed(f.plugin, filterPoint, func() { f.filter.FilterKey(r.key[j]) })
		}
	}
	for j := range k.scores {
		timed(k.scores[j].plugin, scorePoint, func() { k.scores[j].Score(n) })
	}
}
