// Package statefulset keeps the pods of StatefulSets: each has a name and
// claims of its own, and they come and go in order.
package statefulset

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/controller-manager/internal/pod"
)

// Kinds of actions.
const (
	createPod   = "create"
	deletePod   = "delete"
	labelPod    = "label"
	createClaim = "claim"
	ownClaim    = "own"
)

// Action is one thing to do, in the plan's order.
type Action struct {
	Do    string
	Pod   *corev1.Pod
	Claim *corev1.PersistentVolumeClaim
	// Ordinal of the pod.
	Ordinal int
	// Event says why a pod that has ended is replaced.
	Reason, Message string
}

func (a Action) String() string {
	switch a.Do {
	case createClaim:
		return "claim " + a.Claim.Name
	case ownClaim:
		var owners []string
		for _, r := range a.Claim.OwnerReferences {
			owners = append(owners, r.Kind+"/"+r.Name)
		}
		return "own " + a.Claim.Name + " " + strings.Join(owners, ",")
	case createPod:
		return "create " + a.Pod.Name + " revision=" + a.Pod.Labels[appsv1.StatefulSetRevisionLabel]
	}
	return a.Do + " " + a.Pod.Name
}

// Plan is what to do for one set.
type Plan struct {
	Actions []Action
	Status  appsv1.StatefulSetStatus
	Again   time.Duration
}

func (p Plan) String() string {
	var b strings.Builder
	for _, a := range p.Actions {
		b.WriteString(a.String() + "\n")
	}
	s := &p.Status
	fmt.Fprintf(&b, "status replicas=%d ready=%d available=%d current=%d updated=%d currentRevision=%s updateRevision=%s\n",
		s.Replicas, s.ReadyReplicas, s.AvailableReplicas, s.CurrentReplicas, s.UpdatedReplicas, s.CurrentRevision, s.UpdateRevision)
	if p.Again > 0 {
		fmt.Fprintf(&b, "again after %s\n", p.Again)
	}
	return b.String()
}

// version is a template and its revision's name.
type version struct {
	name     string
	template *corev1.PodTemplateSpec
}

// observed is what a plan is made of.
type observed struct {
	set             *appsv1.StatefulSet
	current, update version
	// pods are the set's own; claims are found by name.
	pods  []*corev1.Pod
	claim func(name string) *corev1.PersistentVolumeClaim
}

// slot is the place of an ordinal; pod is nil when nobody has it.
type slot struct {
	ordinal int
	pod     *corev1.Pod
}

// planner is a plan in the making.
type planner struct {
	observed
	now       time.Time
	slots     []slot // of the set's size
	condemned []slot // beyond it, the highest first
	parallel  bool
	plan      Plan
}

func plan(o observed, now time.Time) Plan {
	p := &planner{observed: o, now: now, parallel: o.set.Spec.PodManagementPolicy == appsv1.ParallelPodManagement}
	p.place()
	p.count()
	if o.set.DeletionTimestamp == nil && p.fill() && p.shrink() {
		p.roll()
	}
	p.complete()
	return p.plan
}

// place puts the pods where they belong.
func (p *planner) place() {
	start, size := firstOrdinal(p.set), int(*p.set.Spec.Replicas)
	for i := range size {
		p.slots = append(p.slots, slot{ordinal: start + i})
	}
	for _, v := range p.pods {
		n, ok := ordinalOf(p.set, v.Name)
		switch {
		case !ok:
		case n >= start && n < start+size:
			p.slots[n-start].pod = v
		default:
			p.condemned = append(p.condemned, slot{n, v})
		}
	}
	slices.SortFunc(p.condemned, func(a, b slot) int { return cmp.Compare(b.ordinal, a.ordinal) })
}

func revisionOf(v *corev1.Pod) string { return v.Labels[appsv1.StatefulSetRevisionLabel] }

func running(v *corev1.Pod) bool { return v.Status.Phase == corev1.PodRunning && pod.Ready(v) }

func healthy(v *corev1.Pod) bool { return v != nil && running(v) && v.DeletionTimestamp == nil }

func (p *planner) available(v *corev1.Pod) bool {
	ok, left := pod.Available(v, p.set.Spec.MinReadySeconds, p.now)
	if left > 0 && (p.plan.Again == 0 || left < p.plan.Again) {
		p.plan.Again = left
	}
	return ok && running(v)
}

// count makes the status of what there is.
func (p *planner) count() {
	s := *p.set.Status.DeepCopy()
	s.ObservedGeneration = p.set.Generation
	s.CurrentRevision, s.UpdateRevision = p.current.name, p.update.name
	s.Replicas, s.ReadyReplicas, s.AvailableReplicas, s.CurrentReplicas, s.UpdatedReplicas = 0, 0, 0, 0, 0
	p.plan.Status = s
	for _, l := range [][]slot{p.slots, p.condemned} {
		for _, at := range l {
			if at.pod != nil {
				p.countPod(at.pod)
			}
		}
	}
}

func (p *planner) countPod(v *corev1.Pod) {
	s := &p.plan.Status
	s.Replicas++
	if running(v) {
		s.ReadyReplicas++
		if p.available(v) {
			s.AvailableReplicas++
		}
	}
	if v.DeletionTimestamp == nil {
		p.countVersion(revisionOf(v), 1)
	}
}

func (p *planner) countVersion(revision string, n int32) {
	if revision == p.current.name {
		p.plan.Status.CurrentReplicas += n
	}
	if revision == p.update.name {
		p.plan.Status.UpdatedReplicas += n
	}
}

func (p *planner) do(a Action) { p.plan.Actions = append(p.plan.Actions, a) }

// fill sees to the pods that should be there, the lowest first. It reports
// whether all is well enough to go on.
func (p *planner) fill() bool {
	for _, at := range p.slots {
		if !p.fillSlot(at) {
			return false
		}
	}
	return true
}

func (p *planner) fillSlot(at slot) bool {
	v := at.pod
	switch {
	case v == nil:
		return p.create(at.ordinal) && p.parallel
	case pod.Finished(v):
		if v.DeletionTimestamp == nil {
			a := Action{Do: deletePod, Pod: v, Ordinal: at.ordinal, Reason: "RecreatingFailedPod"}
			state := "failed"
			if v.Status.Phase == corev1.PodSucceeded {
				a.Reason, state = "RecreatingTerminatedPod", "terminated"
			}
			a.Message = fmt.Sprintf("StatefulSet %s/%s is recreating %s Pod %s", p.set.Namespace, p.set.Name, state, v.Name)
			p.do(a)
		}
		return p.parallel
	}
	if v.Status.Phase == corev1.PodPending {
		p.claims(at.ordinal, v)
	}
	if !p.parallel && (v.DeletionTimestamp != nil || !p.available(v)) {
		p.keep(at, false)
		return false
	}
	p.keep(at, false)
	return true
}

// keep restores what says who a pod is, and who owns its claims.
func (p *planner) keep(at slot, condemned bool) {
	if !hasIdentity(p.set, at.pod, at.ordinal) && at.pod.DeletionTimestamp == nil {
		p.do(Action{Do: labelPod, Pod: at.pod, Ordinal: at.ordinal})
	}
	for i := range p.set.Spec.VolumeClaimTemplates {
		c := p.claim(claimName(p.set, p.set.Spec.VolumeClaimTemplates[i].Name, at.ordinal))
		if c == nil || c.DeletionTimestamp != nil {
			continue
		}
		owners := claimOwners(p.set, at.pod, condemned, c.OwnerReferences)
		if apiequality.Semantic.DeepEqual(owners, c.OwnerReferences) {
			continue
		}
		c = c.DeepCopy()
		c.OwnerReferences = owners
		p.do(Action{Do: ownClaim, Pod: at.pod, Claim: c, Ordinal: at.ordinal})
	}
}

// claims plans the claims of an ordinal that are not there. It is false while
// one of them is on its way out: a pod would be given storage that ends. v is
// the ordinal's pod, nil when it is yet to be made.
func (p *planner) claims(ordinal int, v *corev1.Pod) bool {
	for _, c := range newClaims(p.set, ordinal) {
		have := p.claim(c.Name)
		if have != nil && (have.DeletionTimestamp != nil || doomed(p.set, have, v, podName(p.set, ordinal))) {
			return false
		}
		if have == nil {
			c.OwnerReferences = claimOwners(p.set, nil, false, nil)
			p.do(Action{Do: createClaim, Claim: c, Ordinal: ordinal})
		}
	}
	return true
}

func (p *planner) create(ordinal int) bool {
	if !p.claims(ordinal, nil) {
		return false
	}
	v := p.versionOf(ordinal)
	p.do(Action{Do: createPod, Pod: newPod(p.set, v.template, v.name, ordinal), Ordinal: ordinal})
	p.plan.Status.Replicas++
	p.countVersion(v.name, 1)
	return true
}

// versionOf a new pod: below the partition, or what the rollout has not come
// to yet, stays at the current one.
func (p *planner) versionOf(ordinal int) version {
	u := &p.set.Spec.UpdateStrategy
	if u.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return p.update
	}
	start := firstOrdinal(p.set)
	if u.RollingUpdate == nil && ordinal < start+int(p.set.Status.CurrentReplicas) || u.RollingUpdate != nil && ordinal < start+p.partition() {
		return p.current
	}
	return p.update
}

func (p *planner) partition() int {
	if r := p.set.Spec.UpdateStrategy.RollingUpdate; r != nil && r.Partition != nil {
		return int(*r.Partition)
	}
	return 0
}

// shrink removes pods beyond the set's size, the highest first.
func (p *planner) shrink() bool {
	unhealthy := p.firstUnhealthy()
	for _, at := range p.condemned {
		p.keep(at, true)
		if at.pod.DeletionTimestamp != nil {
			if !p.parallel {
				return false
			}
			continue
		}
		if !p.parallel && !p.available(at.pod) && at.pod != unhealthy {
			return false // another one is in trouble: first things first
		}
		p.do(Action{Do: deletePod, Pod: at.pod, Ordinal: at.ordinal})
		p.countVersion(revisionOf(at.pod), -1)
		if !p.parallel {
			return false
		}
	}
	return true
}

// firstUnhealthy is the pod of the lowest ordinal that is not well; nil when
// all are.
func (p *planner) firstUnhealthy() *corev1.Pod {
	for _, at := range p.slots {
		if at.pod != nil && !healthy(at.pod) {
			return at.pod
		}
	}
	for _, at := range slices.Backward(p.condemned) {
		if !healthy(at.pod) {
			return at.pod
		}
	}
	return nil
}

// roll replaces pods of other revisions, the highest first, as many at a time
// as may be unavailable.
func (p *planner) roll() {
	if p.set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return
	}
	most := p.maxUnavailable()
	from := min(p.partition(), len(p.slots))
	if most <= 1 {
		for _, at := range slices.Backward(p.slots[from:]) {
			if at.pod == nil {
				return
			}
			if revisionOf(at.pod) != p.update.name && at.pod.DeletionTimestamp == nil {
				p.replace(at)
				return
			}
			if !healthy(at.pod) || !p.available(at.pod) {
				return
			}
		}
		return
	}
	for _, at := range p.slots {
		if !healthy(at.pod) || !p.available(at.pod) {
			most--
		}
	}
	for _, at := range slices.Backward(p.slots[from:]) {
		if most <= 0 {
			return
		}
		if at.pod != nil && revisionOf(at.pod) != p.update.name && at.pod.DeletionTimestamp == nil {
			p.replace(at)
			most--
		}
	}
}

func (p *planner) replace(at slot) {
	p.do(Action{Do: deletePod, Pod: at.pod, Ordinal: at.ordinal})
	p.countVersion(revisionOf(at.pod), -1)
}

func (p *planner) maxUnavailable() int {
	r := p.set.Spec.UpdateStrategy.RollingUpdate
	if r == nil || r.MaxUnavailable == nil {
		return 1
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(r.MaxUnavailable, len(p.slots), false)
	if err != nil {
		return 1
	}
	return max(n, 1)
}

// complete makes the update revision the current one when all pods have it.
func (p *planner) complete() {
	s := &p.plan.Status
	if p.set.Spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType && s.UpdatedReplicas == s.Replicas &&
		s.ReadyReplicas == s.Replicas && s.Replicas == *p.set.Spec.Replicas {
		s.CurrentReplicas, s.CurrentRevision = s.UpdatedReplicas, s.UpdateRevision
	}
}

// sameStatus reports whether there is nothing to write.
func sameStatus(a, b *appsv1.StatefulSetStatus) bool { return apiequality.Semantic.DeepEqual(a, b) }
