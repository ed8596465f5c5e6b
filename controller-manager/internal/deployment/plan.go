// Package deployment rolls Deployments out: a ReplicaSet for each template,
// the newest scaled up as the others go down.
package deployment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// Plan is one step of a rollout; the next is planned when this one shows.
type Plan struct {
	// Create is a new ReplicaSet.
	Create *appsv1.ReplicaSet
	// Update are ReplicaSets whose size or annotations change.
	Update []Change
	// Delete are ReplicaSets of the past.
	Delete []*appsv1.ReplicaSet
	// Deployment is what its status (and revision) should be; nil is as it is.
	Deployment *appsv1.Deployment
	Again      time.Duration
}

// Change is a ReplicaSet as it should be.
type Change struct {
	Set *appsv1.ReplicaSet
	// From is its size before.
	From int32
}

func (p Plan) String() string {
	var b strings.Builder
	if s := p.Create; s != nil {
		fmt.Fprintf(&b, "create replicas=%d revision=%s\n", *s.Spec.Replicas, s.Annotations[revisionKey])
	}
	for _, c := range p.Update {
		fmt.Fprintf(&b, "update %s", c.Set.Name)
		if c.From != *c.Set.Spec.Replicas {
			fmt.Fprintf(&b, " %d->%d", c.From, *c.Set.Spec.Replicas)
		}
		fmt.Fprintf(&b, " revision=%s desired=%s max=%s\n", c.Set.Annotations[revisionKey], c.Set.Annotations[desiredKey], c.Set.Annotations[maxKey])
	}
	for _, s := range p.Delete {
		fmt.Fprintf(&b, "delete %s\n", s.Name)
	}
	if d := p.Deployment; d != nil {
		s := &d.Status
		fmt.Fprintf(&b, "status revision=%s replicas=%d updated=%d ready=%d available=%d unavailable=%d\n", d.Annotations[revisionKey], s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas, s.UnavailableReplicas)
		for _, c := range s.Conditions {
			fmt.Fprintf(&b, "condition %s %s %s %q\n", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	if p.Again > 0 {
		fmt.Fprintf(&b, "again after %s\n", p.Again)
	}
	return b.String()
}

// observed is what a plan is made of.
type observed struct {
	d *appsv1.Deployment
	// sets are the deployment's own.
	sets []*appsv1.ReplicaSet
	// running reports whether pods of a set are not yet finished; Recreate
	// waits for those of the past.
	running func(*appsv1.ReplicaSet) bool
}

// rollout is a plan in the making. d is a copy.
type rollout struct {
	observed
	now  time.Time
	d    *appsv1.Deployment
	past []*appsv1.ReplicaSet // all but current, the oldest first
	// current has the deployment's template; nil when there is none.
	current *appsv1.ReplicaSet
	plan    Plan
}

func plan(o observed, now time.Time) Plan {
	r := &rollout{observed: o, now: now, d: o.d.DeepCopy()}
	r.split()
	switch {
	case o.d.DeletionTimestamp != nil:
	case r.pausing():
		return r.plan
	case r.d.Spec.Paused:
		if r.keepRevision() {
			return r.plan
		}
		r.scale()
		if len(r.plan.Update) == 0 {
			r.cleanUp()
		}
	case r.resized():
		if r.keepRevision() {
			return r.plan
		}
		r.scale()
	case r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		r.recreate()
	default:
		r.roll()
	}
	r.report()
	return r.plan
}

// split finds the current set: of several with the template, the oldest.
func (r *rollout) split() {
	sets := slices.Clone(r.sets)
	slices.SortStableFunc(sets, byAge)
	for _, s := range sets {
		if r.current == nil && sameTemplate(&r.d.Spec.Template, &s.Spec.Template) {
			r.current = s
			continue
		}
		r.past = append(r.past, s)
	}
}

func byAge(a, b *appsv1.ReplicaSet) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// all are the sets, the current one last.
func (r *rollout) all() []*appsv1.ReplicaSet {
	out := slices.Clone(r.past)
	if r.current != nil {
		out = append(out, r.current)
	}
	return out
}

func size(s *appsv1.ReplicaSet) int32 {
	if s == nil || s.Spec.Replicas == nil {
		return 0
	}
	return *s.Spec.Replicas
}

func sizes(sets []*appsv1.ReplicaSet) (n int32) {
	for _, s := range sets {
		n += size(s)
	}
	return n
}

func available(sets []*appsv1.ReplicaSet) (n int32) {
	for _, s := range sets {
		n += s.Status.AvailableReplicas
	}
	return n
}

func active(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	var out []*appsv1.ReplicaSet
	for _, s := range sets {
		if size(s) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// pausing notes that a deployment was paused or resumed, so that the time
// spent paused does not count against its progress deadline. It reports
// whether there was something to note.
func (r *rollout) pausing() bool {
	if !hasDeadline(r.d) {
		return false
	}
	c := condition(&r.d.Status, appsv1.DeploymentProgressing)
	if c != nil && c.Reason == timedOut {
		return false
	}
	noted := c != nil && c.Reason == pausedReason
	switch {
	case r.d.Spec.Paused && !noted:
		setCondition(&r.d.Status, r.condition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, pausedReason, "Deployment is paused"))
	case !r.d.Spec.Paused && noted:
		setCondition(&r.d.Status, r.condition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, resumedReason, "Deployment is resumed"))
	default:
		return false
	}
	r.plan.Deployment = r.d
	return true
}

// resized reports whether the deployment's size has changed since its sets
// were sized: scaling goes before rolling out.
func (r *rollout) resized() bool {
	for _, s := range active(r.sets) {
		if desired, ok := annotated(s, desiredKey); ok && desired != *r.d.Spec.Replicas {
			return true
		}
	}
	return false
}

// recreate ends all pods of the past before the first new one begins.
func (r *rollout) recreate() {
	if r.keepRevision() {
		return
	}
	for _, s := range active(r.past) {
		r.resize(s, 0)
	}
	if len(r.plan.Update) > 0 || slices.ContainsFunc(r.past, r.running) {
		return
	}
	if r.current == nil {
		r.create(*r.d.Spec.Replicas)
		return
	}
	if size(r.current) != *r.d.Spec.Replicas {
		r.resize(r.current, *r.d.Spec.Replicas)
		return
	}
	if complete(r.d, &r.d.Status) {
		r.cleanUp()
	}
}

// roll moves pods from the past to the current set within the bounds of
// maxSurge and maxUnavailable.
func (r *rollout) roll() {
	if r.keepRevision() {
		return
	}
	if r.current == nil {
		r.create(r.sizeOfCurrent())
		return
	}
	if n := r.sizeOfCurrent(); n != size(r.current) {
		r.resize(r.current, n)
		return
	}
	if r.shrinkPast(); len(r.plan.Update) > 0 {
		return
	}
	if complete(r.d, &r.d.Status) {
		r.cleanUp()
	}
}

// cleanUp deletes sets of the past beyond the history that is to be kept.
func (r *rollout) cleanUp() {
	if r.d.Spec.RevisionHistoryLimit == nil || *r.d.Spec.RevisionHistoryLimit == 1<<31-1 {
		return
	}
	alive := slices.DeleteFunc(slices.Clone(r.past), func(s *appsv1.ReplicaSet) bool { return s.DeletionTimestamp != nil })
	n := len(alive) - int(*r.d.Spec.RevisionHistoryLimit)
	if n <= 0 {
		return
	}
	slices.SortStableFunc(alive, func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(cmp.Compare(revision(a.Annotations), revision(b.Annotations)), byAge(a, b))
	})
	for _, s := range alive[:n] {
		if s.Status.Replicas == 0 && size(s) == 0 && s.Generation <= s.Status.ObservedGeneration {
			r.plan.Delete = append(r.plan.Delete, s)
		}
	}
}
