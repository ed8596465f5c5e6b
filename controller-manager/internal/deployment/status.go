package deployment

import (
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of conditions.
const (
	availableReason   = "MinimumReplicasAvailable"
	unavailableReason = "MinimumReplicasUnavailable"
	createdReason     = "NewReplicaSetCreated"
	createFailed      = "ReplicaSetCreateError"
	foundReason       = "FoundNewReplicaSet"
	progressedReason  = "ReplicaSetUpdated"
	completeReason    = "NewReplicaSetAvailable"
	timedOut          = "ProgressDeadlineExceeded"
	pausedReason      = "DeploymentPaused"
	resumedReason     = "DeploymentResumed"
)

func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}

func condition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

func (r *rollout) condition(t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string) appsv1.DeploymentCondition {
	now := metav1.NewTime(r.now)
	return appsv1.DeploymentCondition{Type: t, Status: status, LastUpdateTime: now, LastTransitionTime: now, Reason: reason, Message: message}
}

// setCondition replaces a condition that differs in status or reason; the
// new one goes to the end.
func setCondition(s *appsv1.DeploymentStatus, c appsv1.DeploymentCondition) {
	have := condition(s, c.Type)
	if have != nil && have.Status == c.Status && have.Reason == c.Reason {
		return
	}
	if have != nil && have.Status == c.Status {
		c.LastTransitionTime = have.LastTransitionTime
	}
	removeCondition(s, c.Type)
	s.Conditions = append(s.Conditions, c)
}

func removeCondition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) {
	s.Conditions = slices.DeleteFunc(s.Conditions, func(c appsv1.DeploymentCondition) bool { return c.Type == t })
}

func complete(d *appsv1.Deployment, s *appsv1.DeploymentStatus) bool {
	n := *d.Spec.Replicas
	return s.UpdatedReplicas == n && s.Replicas == n && s.AvailableReplicas == n && s.ObservedGeneration >= d.Generation
}

// progressing reports whether there is more of the new, or less of the old,
// than was known.
func progressing(was, is *appsv1.DeploymentStatus) bool {
	return is.UpdatedReplicas > was.UpdatedReplicas || is.Replicas-is.UpdatedReplicas < was.Replicas-was.UpdatedReplicas ||
		is.ReadyReplicas > was.ReadyReplicas || is.AvailableReplicas > was.AvailableReplicas
}

// report makes the status.
func (r *rollout) report() {
	was := r.d.Status.DeepCopy() // with the conditions noted so far
	s := r.count()
	r.d.Status = s
	if r.observed.d.DeletionTimestamp == nil && !r.d.Spec.Paused && !r.resized() {
		r.progress(was)
	}
	if !apiequality.Semantic.DeepEqual(&r.d.Status, &r.observed.d.Status) || r.d.Annotations[revisionKey] != r.observed.d.Annotations[revisionKey] {
		r.plan.Deployment = r.d
	}
	r.plan.Again = r.untilDeadline()
}

func (r *rollout) count() appsv1.DeploymentStatus {
	s := *r.d.Status.DeepCopy()
	s.ObservedGeneration = r.d.Generation
	s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas = 0, 0, 0, 0
	terminating, known := int32(0), true
	for _, set := range r.sets {
		s.Replicas += set.Status.Replicas
		s.ReadyReplicas += set.Status.ReadyReplicas
		s.AvailableReplicas += set.Status.AvailableReplicas
		if n := set.Status.TerminatingReplicas; n != nil {
			terminating += *n
		} else {
			known = false
		}
	}
	s.TerminatingReplicas = nil
	if known {
		s.TerminatingReplicas = &terminating
	}
	if r.current != nil {
		s.UpdatedReplicas = r.current.Status.Replicas
	}
	want := sizes(r.sets)
	s.UnavailableReplicas = max(0, want-s.AvailableReplicas)
	_, unavailable := bounds(r.d)
	c := r.condition(appsv1.DeploymentAvailable, corev1.ConditionTrue, availableReason, "Deployment has minimum availability.")
	if s.AvailableReplicas < *r.d.Spec.Replicas-unavailable {
		c = r.condition(appsv1.DeploymentAvailable, corev1.ConditionFalse, unavailableReason, "Deployment does not have minimum availability.")
	}
	setCondition(&s, c)
	return s
}

// progress keeps the conditions Progressing and ReplicaFailure.
func (r *rollout) progress(was *appsv1.DeploymentStatus) {
	s := &r.d.Status
	if !hasDeadline(r.d) {
		removeCondition(s, appsv1.DeploymentProgressing)
	}
	have := condition(s, appsv1.DeploymentProgressing)
	done := s.Replicas == s.UpdatedReplicas && have != nil && have.Reason == completeReason
	if hasDeadline(r.d) && !done {
		r.judge(was, have)
	}
	removeCondition(s, appsv1.DeploymentReplicaFailure)
	if f := r.failure(); f != nil {
		s.Conditions = append(s.Conditions, *f)
	}
}

func (r *rollout) judge(was *appsv1.DeploymentStatus, have *appsv1.DeploymentCondition) {
	s := &r.d.Status
	subject := fmt.Sprintf("Deployment %q", r.d.Name)
	if r.current != nil {
		subject = fmt.Sprintf("ReplicaSet %q", r.current.Name)
	}
	switch {
	case complete(r.d, s):
		setCondition(s, r.condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, completeReason, subject+" has successfully progressed."))
	case progressing(was, s):
		// Its time of update is what the deadline counts from.
		c := r.condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, progressedReason, subject+" is progressing.")
		if have != nil && have.Status == corev1.ConditionTrue {
			c.LastTransitionTime = have.LastTransitionTime
		}
		removeCondition(s, appsv1.DeploymentProgressing)
		s.Conditions = append(s.Conditions, c)
	case r.late(have):
		setCondition(s, r.condition(appsv1.DeploymentProgressing, corev1.ConditionFalse, timedOut, subject+" has timed out progressing."))
	}
}

// late reports whether the deadline has passed since the last progress.
func (r *rollout) late(c *appsv1.DeploymentCondition) bool {
	switch {
	case c == nil || c.Reason == completeReason:
		return false
	case c.Reason == timedOut:
		return true
	}
	return c.LastUpdateTime.Add(time.Duration(*r.d.Spec.ProgressDeadlineSeconds) * time.Second).Before(r.now)
}

// untilDeadline is when to look whether there was progress.
func (r *rollout) untilDeadline() time.Duration {
	c := condition(&r.d.Status, appsv1.DeploymentProgressing)
	if !hasDeadline(r.d) || c == nil || r.d.Spec.Paused || complete(r.d, &r.d.Status) || c.Reason == timedOut || c.Reason == completeReason {
		return 0
	}
	left := c.LastUpdateTime.Add(time.Duration(*r.d.Spec.ProgressDeadlineSeconds) * time.Second).Sub(r.now)
	return max(left, 0) + time.Second
}

// failure of the sets: the current one's first.
func (r *rollout) failure() *appsv1.DeploymentCondition {
	sets := r.past
	if r.current != nil {
		sets = append([]*appsv1.ReplicaSet{r.current}, sets...)
	}
	for _, set := range sets {
		for _, c := range set.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				return &appsv1.DeploymentCondition{
					Type: appsv1.DeploymentReplicaFailure, Status: c.Status, LastUpdateTime: c.LastTransitionTime,
					LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
				}
			}
		}
	}
	return nil
}
