// Package daemonset keeps a pod of each DaemonSet on every node that is to
// have one.
package daemonset

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/controller-manager/internal/pod"
)

// Removal is a pod to delete, and an event about why when there is one.
type Removal struct {
	Pod             *corev1.Pod
	Reason, Message string
}

// Plan is what to do for one set.
type Plan struct {
	// Create are the nodes that need a pod.
	Create []string
	Delete []Removal
	Status appsv1.DaemonSetStatus
	Again  time.Duration
}

func (p Plan) String() string {
	var b strings.Builder
	for _, n := range p.Create {
		fmt.Fprintf(&b, "create on %s\n", n)
	}
	for _, d := range p.Delete {
		fmt.Fprintf(&b, "delete %s", d.Pod.Name)
		if d.Reason != "" {
			fmt.Fprintf(&b, " %s", d.Reason)
		}
		b.WriteString("\n")
	}
	s := &p.Status
	fmt.Fprintf(&b, "status desired=%d current=%d misscheduled=%d ready=%d updated=%d available=%d unavailable=%d\n",
		s.DesiredNumberScheduled, s.CurrentNumberScheduled, s.NumberMisscheduled, s.NumberReady, s.UpdatedNumberScheduled, s.NumberAvailable, s.NumberUnavailable)
	if p.Again > 0 {
		fmt.Fprintf(&b, "again after %s\n", p.Again)
	}
	return b.String()
}

// observed is what a plan is made of.
type observed struct {
	ds    *appsv1.DaemonSet
	nodes []*corev1.Node
	pods  []*corev1.Pod
	// hash of the set's template.
	hash string
	// patience is how long a failed pod of a node is left where it is.
	patience func(node string) time.Duration
}

type planner struct {
	observed
	now    time.Time
	byNode map[string][]*corev1.Pod // the oldest first
	// should and may are eligible's answers, by node.
	should, may map[*corev1.Node]bool
	surge       int
	plan        Plan
}

func plan(o observed, now time.Time) Plan {
	p := &planner{observed: o, now: now, byNode: map[string][]*corev1.Pod{}}
	slices.SortFunc(p.nodes, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	for _, v := range p.pods {
		n := nodeOf(v)
		p.byNode[n] = append(p.byNode[n], v)
	}
	for _, l := range p.byNode {
		slices.SortFunc(l, older)
	}
	p.should, p.may = map[*corev1.Node]bool{}, map[*corev1.Node]bool{}
	for _, n := range p.nodes {
		p.should[n], p.may[n] = eligible(p.ds, n)
	}
	if r := p.rolling(); r != nil {
		p.surge = scaled(r.MaxSurge, p.desired())
	}
	if o.ds.DeletionTimestamp == nil {
		p.manage()
		// One thing at a time: what is missing comes before what is old.
		if len(p.plan.Create)+len(p.plan.Delete) == 0 && o.ds.Spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
			p.roll()
		}
	}
	p.status()
	return p.plan
}

// older puts bound pods before others, then the oldest first.
func older(a, b *corev1.Pod) int {
	bound := func(v *corev1.Pod) int {
		if v.Spec.NodeName == "" {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(bound(a), bound(b)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

func (p *planner) delete(v *corev1.Pod) { p.plan.Delete = append(p.plan.Delete, Removal{Pod: v}) }

func (p *planner) updated(v *corev1.Pod) bool {
	if g := p.ds.Annotations[appsv1.DeprecatedTemplateGeneration]; g != "" && v.Labels[generationLabel] == g {
		return true
	}
	return p.hash != "" && v.Labels[appsv1.ControllerRevisionHashLabelKey] == p.hash
}

func (p *planner) available(v *corev1.Pod) bool {
	ok, left := pod.Available(v, p.ds.Spec.MinReadySeconds, p.now)
	p.again(left)
	return ok
}

func (p *planner) again(d time.Duration) {
	if d > 0 && (p.plan.Again == 0 || d < p.plan.Again) {
		p.plan.Again = d
	}
}

// manage brings one pod to each node that should have one and none to the
// others.
func (p *planner) manage() {
	known := map[string]bool{}
	for _, n := range p.nodes {
		known[n.Name] = true
		p.node(n)
	}
	for _, n := range slices.Sorted(maps.Keys(p.byNode)) {
		for _, v := range p.byNode[n] {
			// For a node that is gone. Pods that are bound go with the node.
			if !known[n] && v.Spec.NodeName == "" && v.DeletionTimestamp == nil {
				p.delete(v)
			}
		}
	}
}

func (p *planner) node(n *corev1.Node) {
	pods := p.byNode[n.Name]
	switch {
	case p.should[n] && len(pods) == 0:
		p.plan.Create = append(p.plan.Create, n.Name)
	case !p.may[n]:
		for _, v := range pods {
			if v.DeletionTimestamp == nil {
				p.delete(v)
			}
		}
	default:
		p.thin(p.ended(n.Name, pods))
	}
}

// ended removes pods that have ended, failed ones with patience, and gives
// the ones that run.
func (p *planner) ended(node string, pods []*corev1.Pod) []*corev1.Pod {
	var left []*corev1.Pod
	for _, v := range pods {
		switch {
		case v.DeletionTimestamp != nil:
		case v.Status.Phase == corev1.PodFailed:
			if d := p.patience(node); d > 0 {
				p.again(d)
				continue
			}
			p.plan.Delete = append(p.plan.Delete, Removal{v, "FailedDaemonPod", fmt.Sprintf("Found failed daemon pod %s/%s on node %s, will try to kill it", v.Namespace, v.Name, node)})
		case v.Status.Phase == corev1.PodSucceeded:
			p.plan.Delete = append(p.plan.Delete, Removal{v, "SucceededDaemonPod", fmt.Sprintf("Found succeeded daemon pod %s/%s on node %s, will try to delete it", v.Namespace, v.Name, node)})
		default:
			left = append(left, v)
		}
	}
	return left
}

// thin leaves one pod on a node: the oldest, or, while an update surges, one
// old and one new until the new one is available.
func (p *planner) thin(pods []*corev1.Pod) {
	if p.surge == 0 {
		for _, v := range pods[min(1, len(pods)):] {
			p.delete(v)
		}
		return
	}
	var fresh, old *corev1.Pod
	for _, v := range pods {
		switch {
		case p.updated(v) && fresh == nil:
			fresh = v
		case !p.updated(v) && old == nil:
			old = v
		default:
			p.delete(v)
		}
	}
	if old != nil && fresh != nil && p.available(fresh) {
		p.delete(old)
	}
}

func (p *planner) rolling() *appsv1.RollingUpdateDaemonSet {
	if p.ds.Spec.UpdateStrategy.Type != appsv1.RollingUpdateDaemonSetStrategyType {
		return nil
	}
	return p.ds.Spec.UpdateStrategy.RollingUpdate
}

func (p *planner) desired() int {
	n := 0
	for _, node := range p.nodes {
		if p.should[node] {
			n++
		}
	}
	return n
}

// maxUnavailable rounds up, as the surge does; not both are zero.
func (p *planner) maxUnavailable() int {
	r := p.rolling()
	if r == nil {
		return 0
	}
	n := scaled(r.MaxUnavailable, p.desired())
	if n == 0 && p.surge == 0 {
		return 1
	}
	return n
}

func scaled(v *intstr.IntOrString, total int) int {
	n, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(v, intstr.FromInt32(0)), total, true)
	if err != nil {
		return 0 // validation does not let it in
	}
	return n
}

// pair is what of the new and the old there is on a node; ok is false when
// there is more than one of either.
func (p *planner) pair(node string) (fresh, old *corev1.Pod, ok bool) {
	for _, v := range p.byNode[node] {
		if v.DeletionTimestamp != nil {
			continue
		}
		at := &old
		if p.updated(v) {
			at = &fresh
		}
		if *at != nil {
			return nil, nil, false
		}
		*at = v
	}
	return fresh, old, true
}

// roll replaces pods of templates of the past.
func (p *planner) roll() {
	if p.surge > 0 {
		p.rollUp()
		return
	}
	room := p.maxUnavailable()
	var candidates []*corev1.Pod
	for _, n := range p.nodes {
		if !p.should[n] {
			continue
		}
		fresh, old, ok := p.pair(n.Name)
		switch {
		case !ok || (fresh == nil) == (old == nil):
			room-- // on its way
		case fresh != nil:
			if !p.available(fresh) {
				room--
			}
		case !p.available(old):
			// Replacing it makes nothing worse.
			p.delete(old)
			room--
		default:
			candidates = append(candidates, old)
		}
	}
	for _, v := range candidates[:max(0, min(room, len(candidates)))] {
		p.delete(v)
	}
}

// rollUp brings new pods beside the old ones.
func (p *planner) rollUp() {
	room := p.surge
	var candidates []string
	for _, n := range p.nodes {
		if !p.should[n] {
			continue
		}
		fresh, old, ok := p.pair(n.Name)
		switch {
		case !ok:
			room--
		case old == nil:
		case fresh == nil && !p.available(old):
			p.plan.Create = append(p.plan.Create, n.Name)
		case fresh == nil:
			candidates = append(candidates, n.Name)
		case p.available(fresh):
			p.delete(old)
		default:
			room--
		}
	}
	p.plan.Create = append(p.plan.Create, candidates[:max(0, min(room, len(candidates)))]...)
}

func (p *planner) status() {
	s := *p.ds.Status.DeepCopy()
	s.DesiredNumberScheduled, s.CurrentNumberScheduled, s.NumberMisscheduled = 0, 0, 0
	s.NumberReady, s.UpdatedNumberScheduled, s.NumberAvailable = 0, 0, 0
	s.ObservedGeneration = p.ds.Generation
	for _, n := range p.nodes {
		pods := p.byNode[n.Name]
		if !p.should[n] {
			if len(pods) > 0 {
				s.NumberMisscheduled++
			}
			continue
		}
		s.DesiredNumberScheduled++
		if len(pods) == 0 {
			continue
		}
		s.CurrentNumberScheduled++
		v := pods[0]
		if pod.Ready(v) {
			s.NumberReady++
			if p.available(v) {
				s.NumberAvailable++
			}
		}
		if p.updated(v) {
			s.UpdatedNumberScheduled++
		}
	}
	s.NumberUnavailable = s.DesiredNumberScheduled - s.NumberAvailable
	p.plan.Status = s
}

func sameStatus(a, b *appsv1.DaemonSetStatus) bool { return apiequality.Semantic.DeepEqual(a, b) }
