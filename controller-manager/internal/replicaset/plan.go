// Package replicaset keeps as many pods as ReplicaSets and
// ReplicationControllers ask for.
package replicaset

import (
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/controller-manager/internal/pod"
)

// Plan is what to do for one set.
type Plan struct {
	Create int
	Delete []*corev1.Pod
	Status appsv1.ReplicaSetStatus
	// Again is when to look again without a reason from outside; 0 is never.
	Again time.Duration
}

func (p Plan) String() string {
	var b strings.Builder
	if p.Create > 0 {
		fmt.Fprintf(&b, "create %d\n", p.Create)
	}
	for _, v := range p.Delete {
		fmt.Fprintf(&b, "delete %s\n", v.Name)
	}
	s := &p.Status
	fmt.Fprintf(&b, "status replicas=%d labeled=%d ready=%d available=%d", s.Replicas, s.FullyLabeledReplicas, s.ReadyReplicas, s.AvailableReplicas)
	if s.TerminatingReplicas != nil && *s.TerminatingReplicas > 0 {
		fmt.Fprintf(&b, " terminating=%d", *s.TerminatingReplicas)
	}
	fmt.Fprintf(&b, " observed=%d\n", s.ObservedGeneration)
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, "condition %s %s %s %q\n", c.Type, c.Status, c.Reason, c.Message)
	}
	if p.Again > 0 {
		fmt.Fprintf(&b, "again after %s\n", p.Again)
	}
	return b.String()
}

// observed is what a plan is made of.
type observed struct {
	set *appsv1.ReplicaSet
	// pods are the set's own.
	pods []*corev1.Pod
	// related are the active pods, by node, of all sets that share the set's
	// owner: of those on a crowded node one goes first.
	related map[string]int
}

func plan(o observed, now time.Time) Plan {
	active := pod.ActiveOnly(o.pods)
	var p Plan
	if o.set.DeletionTimestamp == nil {
		want := int(*o.set.Spec.Replicas)
		switch n := len(active) - want; {
		case n < 0:
			p.Create = -n
		case n > 0:
			sorted := slices.Clone(active)
			pod.SortForDeletion(sorted, o.related, now)
			p.Delete = sorted[:n]
		}
	}
	p.Status, p.Again = status(o.set, o.pods, active, now)
	return p
}

// status counts; conditions stay what they are.
func status(set *appsv1.ReplicaSet, all, active []*corev1.Pod, now time.Time) (appsv1.ReplicaSetStatus, time.Duration) {
	s := *set.Status.DeepCopy()
	s.Replicas, s.FullyLabeledReplicas, s.ReadyReplicas, s.AvailableReplicas = int32(len(active)), 0, 0, 0
	s.ObservedGeneration = set.Generation
	full := labels.Set(set.Spec.Template.Labels).AsSelectorPreValidated()
	var again time.Duration
	for _, p := range active {
		if full.Matches(labels.Set(p.Labels)) {
			s.FullyLabeledReplicas++
		}
		if !pod.Ready(p) {
			continue
		}
		s.ReadyReplicas++
		available, left := pod.Available(p, set.Spec.MinReadySeconds, now)
		if available {
			s.AvailableReplicas++
		} else if left > 0 && (again == 0 || left < again) {
			again = left
		}
	}
	var terminating int32
	for _, p := range all {
		if pod.Terminating(p) {
			terminating++
		}
	}
	s.TerminatingReplicas = &terminating
	return s, again
}

// failure puts what went wrong with creating or deleting into the status, or
// takes it out.
func failure(s *appsv1.ReplicaSetStatus, reason string, err error, now time.Time) {
	i := slices.IndexFunc(s.Conditions, func(c appsv1.ReplicaSetCondition) bool { return c.Type == appsv1.ReplicaSetReplicaFailure })
	switch {
	case err == nil && i >= 0:
		s.Conditions = slices.Delete(s.Conditions, i, i+1)
	case err != nil && i < 0:
		s.Conditions = append(s.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now), Reason: reason, Message: err.Error(),
		})
	}
}

// sameStatus reports whether there is nothing to write.
func sameStatus(set *appsv1.ReplicaSet, s *appsv1.ReplicaSetStatus) bool {
	h := &set.Status
	return h.Replicas == s.Replicas && h.FullyLabeledReplicas == s.FullyLabeledReplicas && h.ReadyReplicas == s.ReadyReplicas &&
		h.AvailableReplicas == s.AvailableReplicas && h.ObservedGeneration == s.ObservedGeneration &&
		count(h.TerminatingReplicas) == count(s.TerminatingReplicas) && slices.EqualFunc(h.Conditions, s.Conditions, func(a, b appsv1.ReplicaSetCondition) bool {
		return a.Type == b.Type && a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message
	})
}

func count(n *int32) int32 {
	if n == nil {
		return -1 // not known yet
	}
	return *n
}
