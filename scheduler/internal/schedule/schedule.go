// Package schedule decides where a pod goes: a function of the cluster and
// the pod. Pods that are alike share a class, which remembers verdicts and
// scores of nodes and looks again at those that changed; the decision is the
// one that looking at every node afresh would give.
package schedule

import (
	"fmt"
	"time"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Decision is where a pod goes, or why it goes nowhere.
type Decision struct {
	Pod *cache.Pod
	// Node is "" when nothing fits.
	Node  string
	Score int64
	// Feasible nodes, and nodes that were looked at.
	Feasible, Evaluated int
	// Diagnosis says why nothing fits.
	Diagnosis *Diagnosis
	// Err is a failure, rather than a verdict.
	Err error
}

func (d *Decision) String() string {
	switch {
	case d.Err != nil:
		return fmt.Sprintf("%s: error: %v", d.Pod.Key(), d.Err)
	case d.Node == "":
		return fmt.Sprintf("%s: %s", d.Pod.Key(), d.Diagnosis.Message())
	}
	return fmt.Sprintf("%s -> %s (score %d, %d feasible)", d.Pod.Key(), d.Node, d.Score, d.Feasible)
}

// Scheduler decides. It belongs to the goroutine that owns the cluster.
type Scheduler struct {
	cluster  *cache.Cluster
	profiles map[string]*framework.Profile
	classes  map[string]*class
	clock    uint64
	seed     uint64
	scratch  []byte
	dirty    []*class // with decisions that the observer was not told of
	// Extend, when set, lets extenders of the profile have their say about
	// the feasible nodes.
	Extend func(p *cache.Pod, nodes []Candidate) ([]Candidate, map[string]*framework.Status, error)
	// Observer, when set, is told how long parts of a decision took.
	Observer Observer
	// Extended reports whether Extend concerns a pod.
	Extended func(p *cache.Pod) bool
}

// Candidate is a feasible node with its score.
type Candidate struct {
	Node  *cache.Node
	Score int64
}

// New makes a scheduler of profiles. seed sets how ties are broken.
func New(c *cache.Cluster, profiles []*framework.Profile, seed uint64) *Scheduler {
	s := &Scheduler{cluster: c, profiles: map[string]*framework.Profile{}, classes: map[string]*class{}, seed: seed}
	for _, p := range profiles {
		s.profiles[p.Name] = p
	}
	return s
}

// Profile of a pod, nil when it is not ours.
func (s *Scheduler) Profile(p *cache.Pod) *framework.Profile { return s.profiles[p.Shape.Scheduler] }

// rowSize in bytes, about, and how much all classes may hold.
const (
	rowSize     = 160
	classMemory = 128 << 20
	minClasses  = 16
	maxClasses  = 4096
)

// class finds or makes the class of a pod, up to date.
func (s *Scheduler) class(p *cache.Pod) *class {
	s.clock++
	profile := s.Profile(p)
	key, like := signature(s.scratch[:0], s.cluster, profile, p)
	s.scratch = key
	if k := s.classes[string(key)]; like && k != nil {
		if k.sync() {
			k.used = s.clock
			return k
		}
		k.close()
		delete(s.classes, string(key))
	}
	name := string(key)
	k := compile(s.cluster, profile, p, s.Observer)
	k.used = s.clock
	k.view.random.state += s.seed + s.clock
	if like {
		s.makeRoom()
		// Compiling may have sorted labels anew: the name is of now.
		if key, _ = signature(s.scratch[:0], s.cluster, profile, p); string(key) != name {
			name = string(key)
		}
		if old := s.classes[name]; old != nil {
			old.close()
		}
		s.classes[name] = k
	}
	return k
}

func (s *Scheduler) makeRoom() {
	limit := min(max(minClasses, classMemory/rowSize/(s.cluster.Size()+1)), maxClasses)
	if len(s.classes) < limit {
		return
	}
	oldest, at := "", s.clock+1
	for name, k := range s.classes {
		if k.era != s.cluster.Era {
			oldest = name
			break
		}
		if k.used < at {
			oldest, at = name, k.used
		}
	}
	s.classes[oldest].close()
	delete(s.classes, oldest)
}

// Schedule decides about a pod. nominated is the node it has been waiting
// for, or "".
func (s *Scheduler) Schedule(p *cache.Pod, nominated string) Decision {
	d := Decision{Pod: p, Evaluated: s.cluster.Len()}
	if s.cluster.Len() == 0 {
		d.Diagnosis = &Diagnosis{PreFilter: "no nodes available to schedule pods", None: true}
		return d
	}
	began := time.Now()
	k := s.class(p)
	compiled := time.Now()
	if s.Observer != nil {
		s.decided(k)
		s.Observer.Point(filterPoint, statusText(k.reject), k.profile.Name, compiled.Sub(began))
		defer func() {
			s.Observer.Point(scorePoint, framework.Success.String(), k.profile.Name, time.Since(compiled))
		}()
	}
	if k.reject != nil && k.reject.Is(framework.Error) {
		d.Err = k.reject.Err
		return d
	}
	if nominated != "" && k.reject == nil {
		if n := s.cluster.Node(nominated); n != nil {
			st := k.fits(n, p)
			k.settle(n)
			if st == nil && !s.extended(p) {
				d.Node, d.Feasible = n.Name, 1
				return d
			}
		}
	}
	s.choose(k, &d)
	if d.Node == "" && d.Err == nil && d.Diagnosis == nil {
		d.Diagnosis = k.diagnose(p)
	}
	return d
}

func (s *Scheduler) extended(p *cache.Pod) bool { return s.Extended != nil && s.Extended(p) }

func (s *Scheduler) choose(k *class, d *Decision) {
	if k.reject != nil {
		return
	}
	k.look()
	d.Feasible = k.view.total
	if s.extended(d.Pod) {
		s.extend(k, d)
		return
	}
	var blocked []*cache.Node
	for {
		n, score := k.best()
		if n == nil {
			break
		}
		st := k.blockedByNominated(n, d.Pod)
		if st == nil {
			d.Node, d.Score = n.Name, score
			break
		}
		blocked = append(blocked, n)
		d.Feasible--
		k.leaveFor(n)
	}
	for _, n := range blocked {
		k.row(n.Index).known = false
		k.refresh(n.Index)
	}
}

// blockedByNominated is the verdict on a node when pods nominated to it
// reject the pod by what facets compare; filters that look at one node have
// seen them already.
func (k *class) blockedByNominated(n *cache.Node, p *cache.Pod) *framework.Status {
	if len(n.Nominated) == 0 || len(k.nominated(n, p)) == 0 {
		return nil
	}
	st := k.fits(n, p)
	k.settle(n)
	return st
}

// leaveFor takes a node out of its group until it is refreshed.
func (k *class) leaveFor(n *cache.Node) {
	r := k.row(n.Index)
	if r.group != nil {
		k.leave(r)
	}
}

func (s *Scheduler) extend(k *class, d *Decision) {
	var nodes []Candidate
	for i, g := range k.view.groups {
		for _, e := range g.heap {
			if n := k.cluster.At(e.node); k.blockedByNominated(n, d.Pod) == nil {
				nodes = append(nodes, Candidate{n, e.score() + k.view.common[i]})
			}
		}
	}
	if len(nodes) == 0 {
		return
	}
	left, failed, err := s.Extend(d.Pod, nodes)
	if err != nil {
		d.Err = err
		return
	}
	d.Feasible = len(left)
	top := int64(-1)
	for i := range left {
		if rank := left[i].Score<<32 | int64(k.view.random.next()); rank > top {
			top, d.Node, d.Score = rank, left[i].Node.Name, left[i].Score
		}
	}
	if d.Node == "" {
		d.Diagnosis = k.diagnose(d.Pod)
		d.Diagnosis.addSpecial(failed)
	}
}
