// Package defaultpreemption makes room for a pod that fits nowhere by
// evicting pods of lower priority, as few and as unimportant as it can.
package defaultpreemption

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Name of the plugin.
const Name = "DefaultPreemption"

const (
	notHelpful = "Preemption is not helpful for scheduling"
	noVictims  = "No preemption victims found for incoming pod"
)

// Plugin implements PostFilter.
type Plugin struct {
	// MinPercentage and MinAbsolute bound how many candidates are looked for,
	// in percent of the nodes and in nodes; the larger counts.
	MinPercentage, MinAbsolute int
	// Budgets are the PodDisruptionBudgets of a namespace.
	Budgets func(namespace string) []Budget
	// Extend lets extenders have their say about candidates; may be nil.
	Extend func(ctx context.Context, p *corev1.Pod, candidates map[string][]*cache.Pod) (map[string][]*cache.Pod, error)
	Now    func() time.Time
	Rand   *rand.Rand
}

// Name implements framework.Plugin.
func (*Plugin) Name() string { return Name }

// PostFilter implements framework.PostFilterer.
func (pl *Plugin) PostFilter(ctx context.Context, a *framework.Attempt) (*framework.PostFilterResult, *framework.Status) {
	if why := ineligible(a); why != "" {
		return nil, framework.NewStatus(Name, framework.Unschedulable, "preemption: "+why)
	}
	candidates, reasons := pl.candidates(a)
	if len(candidates) > 0 && pl.Extend != nil {
		var err error
		if candidates, err = pl.extended(ctx, a, candidates); err != nil {
			return nil, framework.Errorf(Name, "preemption: %w", err)
		}
	}
	if len(candidates) == 0 {
		text := fmt.Sprintf("preemption: 0/%d nodes are available: %s.", a.Cluster.Len(), histogram(reasons))
		return &framework.PostFilterResult{Clear: true}, framework.NewStatus(Name, framework.Unschedulable, text)
	}
	best := pick(candidates, pl.Now())
	return &framework.PostFilterResult{Nominated: best.node.Name, Victims: best.victims}, nil
}

// ineligible says why the pod must not preempt, "" when it may.
func ineligible(a *framework.Attempt) string {
	if !a.Pod.Shape.Preempts {
		return "not eligible due to preemptionPolicy=Never."
	}
	if a.Node == "" {
		return ""
	}
	n := a.Cluster.Node(a.Node)
	if n == nil || a.Rejection(n).Is(framework.Unresolvable) {
		return ""
	}
	for _, p := range n.Pods {
		if p.Priority() < a.Pod.Priority() && (p.Evicted || p.Terminating && preempted(p.Obj)) {
			return "not eligible due to a terminating pod on the nominated node."
		}
	}
	return ""
}

// preempted reports whether the scheduler has evicted the pod.
func preempted(p *corev1.Pod) bool {
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		if c.Type == corev1.DisruptionTarget {
			return c.Status == corev1.ConditionTrue && c.Reason == corev1.PodReasonPreemptionByScheduler
		}
	}
	return false
}

// candidate is a node with the pods that have to go.
type candidate struct {
	node       *cache.Node
	victims    []*cache.Pod // most important first
	violations int          // of disruption budgets
}

// candidates tries nodes, from a random one on, until there are enough.
func (pl *Plugin) candidates(a *framework.Attempt) ([]candidate, map[string]int) {
	reasons := map[string]int{}
	var nodes []*cache.Node
	for n := range a.Cluster.Nodes {
		if a.Rejection(n).Is(framework.Unschedulable) {
			nodes = append(nodes, n)
		} else {
			reasons[notHelpful]++
		}
	}
	enough := min(max(len(nodes)*pl.MinPercentage/100, pl.MinAbsolute), len(nodes))
	var out []candidate
	calm := false // some candidate violates no budget
	if len(nodes) == 0 {
		return nil, reasons
	}
	first := pl.Rand.IntN(len(nodes))
	for i := range nodes {
		if calm && len(out) >= enough {
			break
		}
		c, st := pl.try(a, nodes[(first+i)%len(nodes)])
		if st != nil {
			for _, r := range st.Reasons {
				reasons[r]++
			}
			continue
		}
		out = append(out, c)
		calm = calm || c.violations == 0
	}
	return out, reasons
}

// try finds the fewest victims on a node.
func (pl *Plugin) try(a *framework.Attempt, n *cache.Node) (c candidate, st *framework.Status) {
	var lesser []*cache.Pod
	for _, p := range n.Pods {
		if p.Priority() < a.Pod.Priority() {
			lesser = append(lesser, p)
		}
	}
	if len(lesser) == 0 {
		return c, framework.NewStatus(Name, framework.Unresolvable, noVictims)
	}
	now := pl.Now()
	slices.SortFunc(lesser, func(a, b *cache.Pod) int { return moreImportant(a, b, now) })
	for _, p := range lesser {
		a.Cluster.Lift(p)
	}
	st = a.Fits(n)
	c.node = n
	violating, others := pl.violating(lesser)
	if st == nil {
		c.violations = pl.spare(a, n, violating, &c)
		pl.spare(a, n, others, &c)
	} else {
		c.victims = lesser
	}
	for _, p := range c.victims {
		a.Cluster.Lower(p, n)
	}
	a.Settle(n)
	if st != nil {
		return c, st
	}
	slices.SortStableFunc(c.victims, func(a, b *cache.Pod) int { return moreImportant(a, b, now) })
	return c, nil
}

// spare puts back each pod that need not go, and counts those that must.
func (pl *Plugin) spare(a *framework.Attempt, n *cache.Node, pods []*cache.Pod, c *candidate) (gone int) {
	for _, p := range pods {
		a.Cluster.Lower(p, n)
		if a.Fits(n) != nil {
			a.Cluster.Lift(p)
			c.victims = append(c.victims, p)
			gone++
		}
	}
	return gone
}

// moreImportant orders by priority, then by who runs longer.
func moreImportant(a, b *cache.Pod, now time.Time) int {
	if a.Priority() != b.Priority() {
		return int(b.Priority()) - int(a.Priority())
	}
	if c := a.Started(now).Compare(b.Started(now)); c != 0 {
		return c
	}
	if a.UID < b.UID {
		return -1
	}
	return 1
}

// pick is the least harmful candidate: rule by rule, as long as there is a tie.
func pick(list []candidate, now time.Time) candidate {
	rules := []func(c *candidate) int64{
		func(c *candidate) int64 { return int64(c.violations) },
		func(c *candidate) int64 {
			if len(c.victims) == 0 {
				return math.MinInt64
			}
			return int64(c.victims[0].Priority())
		},
		func(c *candidate) (sum int64) {
			for _, p := range c.victims {
				sum += int64(p.Priority()) + math.MaxInt32 + 1
			}
			return sum
		},
		func(c *candidate) int64 { return int64(len(c.victims)) },
		func(c *candidate) int64 { return -earliest(c.victims, now) },
	}
	left := list
	for _, rule := range rules {
		var best []candidate
		least := int64(math.MaxInt64)
		for i := range left {
			switch v := rule(&left[i]); {
			case v < least:
				least, best = v, append(best[:0:0], left[i])
			case v == least:
				best = append(best, left[i])
			}
		}
		if left = best; len(left) == 1 {
			break
		}
	}
	return left[0]
}

// earliest start among the victims of the highest priority.
func earliest(victims []*cache.Pod, now time.Time) int64 {
	first := int64(math.MaxInt64)
	for _, p := range victims {
		if p.Priority() == victims[0].Priority() {
			first = min(first, p.Started(now).UnixNano())
		}
	}
	return first
}

func (pl *Plugin) extended(ctx context.Context, a *framework.Attempt, list []candidate) ([]candidate, error) {
	by := map[string][]*cache.Pod{}
	for _, c := range list {
		by[c.node.Name] = c.victims
	}
	left, err := pl.Extend(ctx, a.Pod.Obj, by)
	if err != nil {
		return nil, err
	}
	var out []candidate
	for _, c := range list {
		if victims, ok := left[c.node.Name]; ok {
			c.victims = victims
			out = append(out, c)
		}
	}
	return out, nil
}

func histogram(reasons map[string]int) string {
	out := make([]string, 0, len(reasons))
	for r, n := range reasons {
		out = append(out, fmt.Sprintf("%d %s", n, r))
	}
	slices.Sort(out)
	text := ""
	for i, s := range out {
		if i > 0 {
			text += ", "
		}
		text += s
	}
	return text
}
