// Package noderesources keeps pods off nodes without room for them, and
// scores nodes by how much is left and how balanced it is.
package noderesources

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// FitName is the name of the plugin Fit.
const FitName = "NodeResourcesFit"

// Fit implements Filter and Score.
type Fit struct {
	// Ignored are extended resources that don't count, by name and by the
	// part before the slash.
	Ignored, IgnoredGroups map[string]bool
	Strategy               Strategy
}

// Name implements framework.Plugin.
func (*Fit) Name() string { return FitName }

// fitFilter compares columns.
type fitFilter struct {
	c     *cache.Cluster
	wants []cache.Amount
	// verdicts by which of wants are missing, as bits; the top bit for pods.
	verdicts map[uint64]*framework.Status
}

const podsBit, unresolvableBit = 1 << 63, 1 << 62

func (f *fitFilter) Filter(n *cache.Node) *framework.Status {
	missing, i := uint64(0), n.Index
	if f.c.Used[cache.Pods][i]+1 > f.c.Allocatable[cache.Pods][i] {
		missing = podsBit
	}
	for j, a := range f.wants {
		room := f.c.Allocatable[a.Resource][i]
		if f.c.Used[a.Resource][i]+a.Value > room {
			missing |= 1 << min(j, 61)
			if a.Value > room {
				missing |= unresolvableBit
			}
		}
	}
	if missing == 0 {
		return nil
	}
	return f.verdict(missing)
}

func (f *fitFilter) verdict(missing uint64) *framework.Status {
	if st := f.verdicts[missing]; st != nil {
		return st
	}
	st := framework.NewStatus(FitName, framework.Unschedulable)
	if missing&unresolvableBit != 0 {
		st.Code = framework.Unresolvable
	}
	if missing&podsBit != 0 {
		st.Reasons = append(st.Reasons, "Too many pods")
	}
	for j, a := range f.wants {
		if missing&(1<<min(j, 61)) != 0 {
			st.Reasons = append(st.Reasons, fmt.Sprintf("Insufficient %v", f.c.ResourceName(a.Resource)))
		}
	}
	f.verdicts[missing] = st
	return st
}

// PreFilter implements framework.PreFilterer.
func (pl *Fit) PreFilter(c *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	c.Resource(corev1.ResourcePods)
	f := &fitFilter{c: c, verdicts: map[uint64]*framework.Status{}}
	for _, a := range p.Shape.Requests {
		if !pl.ignores(c.ResourceName(a.Resource)) {
			f.wants = append(f.wants, a)
		}
	}
	return framework.Compiled{Filter: f}, nil
}

func (pl *Fit) ignores(name corev1.ResourceName) bool {
	if pl.Ignored[string(name)] {
		return true
	}
	group, _, extended := strings.Cut(string(name), "/")
	return extended && pl.IgnoredGroups[group]
}

// PreScore implements framework.PreScorer.
func (pl *Fit) PreScore(c *cache.Cluster, p *cache.Pod) (framework.Scored, *framework.Status) {
	if s := pl.Strategy.compile(c, p); s != nil {
		return framework.Scored{Score: s}, nil
	}
	return framework.Scored{}, framework.NewStatus(FitName, framework.Skip)
}

// Events implements framework.Enqueuer.
func (pl *Fit) Events() []framework.EventHint {
	return []framework.EventHint{
		{Object: framework.AssignedPod, Action: framework.Delete | framework.UpdatePodScaleDown, Hint: pl.freed},
		{Object: framework.TargetPod, Action: framework.UpdatePodScaleDown},
		{Object: framework.Node, Action: framework.Add | framework.UpdateNodeAllocatable, Hint: pl.roomy},
	}
}

// freed: a pod went or shrank that had some of what is wanted.
func (pl *Fit) freed(c *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
	was, ok := e.Old.(*cache.Pod)
	if !ok {
		return framework.Queue
	}
	now, stays := e.New.(*cache.Pod)
	if !stays {
		return framework.Queue // it was one of the node's pods, too
	}
	for _, a := range p.Shape.Requests {
		if amount(was.Shape, a.Resource) > amount(now.Shape, a.Resource) {
			return framework.Queue
		}
	}
	return framework.QueueSkip
}

func amount(s *cache.Shape, r cache.Resource) int64 {
	for _, a := range s.Requests {
		if a.Resource == r {
			return a.Value
		}
	}
	return 0
}

// roomy: a node that has enough, were it empty, and more than before.
func (pl *Fit) roomy(c *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
	n, ok := e.New.(*corev1.Node)
	if !ok {
		return framework.Queue
	}
	more := false
	was, had := e.Old.(*corev1.Node)
	larger := func(name corev1.ResourceName) bool {
		a, b := n.Status.Allocatable[name], corev1.ResourceList(nil)
		if had {
			b = was.Status.Allocatable
		}
		old := b[name]
		return a.Cmp(old) > 0
	}
	for _, a := range p.Shape.Requests {
		name := c.ResourceName(a.Resource)
		if pl.ignores(name) {
			continue
		}
		q := n.Status.Allocatable[name]
		have := q.Value()
		if a.Resource == cache.CPU {
			have = q.MilliValue()
		}
		if have < a.Value {
			return framework.QueueSkip
		}
		more = more || larger(name)
	}
	return framework.Hint(!had || more || larger(corev1.ResourcePods))
}
