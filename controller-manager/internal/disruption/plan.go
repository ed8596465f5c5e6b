// Package disruption keeps the status of PodDisruptionBudgets: how many pods
// may be evicted. The API server takes evictions off it.
package disruption

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/controller-manager/internal/pod"
)

// patience is how long a pod that was evicted may take to be marked, and how
// long one that is to be disrupted may take to be deleted.
const patience = 2 * time.Minute

// observed is a budget with its pods. scale finds the controller that decides
// about a pod's number, and that number.
type observed struct {
	budget *policyv1.PodDisruptionBudget
	pods   []*corev1.Pod
	scale  func(p *corev1.Pod, ref *metav1.OwnerReference) (types.UID, int32, error)
	now    time.Time
}

// Plan is what to do about a budget.
type Plan struct {
	// Status to write; nil when it is right.
	Status *policyv1.PodDisruptionBudgetStatus
	// Late are evicted pods that were not deleted.
	Late []*corev1.Pod
	// Unmanaged: pods without a controller have made the number unsure.
	Unmanaged bool
	// Failed says why the number can't be told: nothing is allowed then.
	Failed error
	Again  time.Duration
}

func (p Plan) String() string {
	var b strings.Builder
	if s := p.Status; s != nil {
		fmt.Fprintf(&b, "healthy %d/%d of %d, allowed %d, generation %d\n", s.CurrentHealthy, s.DesiredHealthy, s.ExpectedPods, s.DisruptionsAllowed, s.ObservedGeneration)
		for _, name := range slices.Sorted(maps.Keys(s.DisruptedPods)) {
			fmt.Fprintf(&b, "disrupted %s\n", name)
		}
		for _, c := range s.Conditions {
			fmt.Fprintf(&b, "condition %s=%s %s %s\n", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	for _, l := range p.Late {
		fmt.Fprintf(&b, "late %s\n", l.Name)
	}
	if p.Unmanaged {
		b.WriteString("unmanaged\n")
	}
	if p.Again > 0 {
		fmt.Fprintf(&b, "again in %s\n", p.Again)
	}
	return b.String()
}

func plan(o observed) Plan {
	var p Plan
	s := o.budget.Status.DeepCopy()
	s.ObservedGeneration = o.budget.Generation
	c := metav1.Condition{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.InsufficientPodsReason, ObservedGeneration: o.budget.Generation, LastTransitionTime: metav1.NewTime(o.now)}
	expected, desired, unmanaged, err := o.expect()
	p.Unmanaged = unmanaged
	if err != nil {
		p.Failed = err
		s.DisruptionsAllowed = 0
		s.ObservedGeneration = o.budget.Status.ObservedGeneration
		c.Reason, c.Message = policyv1.SyncFailedReason, err.Error()
	} else {
		s.DisruptedPods, p.Late, p.Again = o.disrupted()
		s.ExpectedPods, s.DesiredHealthy = expected, desired
		s.CurrentHealthy = o.healthy(s.DisruptedPods)
		s.DisruptionsAllowed = 0
		if expected > 0 {
			s.DisruptionsAllowed = max(s.CurrentHealthy-desired, 0)
		}
		if s.DisruptionsAllowed > 0 {
			c.Status, c.Reason = metav1.ConditionTrue, policyv1.SufficientPodsReason
		}
	}
	meta.SetStatusCondition(&s.Conditions, c)
	if !equality.Semantic.DeepEqual(s, &o.budget.Status) {
		p.Status = s
	}
	return p
}

// expect is how many pods there should be, and how many of them healthy.
func (o *observed) expect() (expected, desired int32, unmanaged bool, err error) {
	spec := &o.budget.Spec
	if m := spec.MinAvailable; m != nil && m.Type == intstr.Int && spec.MaxUnavailable == nil {
		return int32(len(o.pods)), m.IntVal, false, nil
	}
	if spec.MaxUnavailable == nil && spec.MinAvailable == nil {
		return int32(len(o.pods)), 0, false, nil
	}
	expected, unmanaged, err = o.scales()
	if err != nil {
		return 0, 0, false, err
	}
	if m := spec.MaxUnavailable; m != nil {
		n, err := intstr.GetScaledValueFromIntOrPercent(m, int(expected), true)
		return expected, max(expected-int32(n), 0), unmanaged, err
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(spec.MinAvailable, int(expected), true)
	return expected, int32(n), unmanaged, err
}

// scales adds up what the pods' controllers want, each once.
func (o *observed) scales() (sum int32, unmanaged bool, err error) {
	seen := map[types.UID]bool{}
	for _, p := range o.pods {
		ref := metav1.GetControllerOfNoCopy(p)
		if ref == nil {
			unmanaged = true
			continue
		}
		if seen[ref.UID] {
			continue
		}
		uid, n, err := o.scale(p, ref)
		if err != nil {
			return 0, false, err
		}
		if !seen[uid] {
			sum += n
		}
		seen[ref.UID], seen[uid] = true, true
	}
	return sum, unmanaged, nil
}

// disrupted are the evicted pods that are yet to be marked as deleted.
func (o *observed) disrupted() (out map[string]metav1.Time, late []*corev1.Pod, again time.Duration) {
	for _, p := range o.pods {
		since, ok := o.budget.Status.DisruptedPods[p.Name]
		if !ok || p.DeletionTimestamp != nil || pod.Finished(p) {
			continue
		}
		left := since.Add(patience).Sub(o.now)
		if left <= 0 {
			late = append(late, p)
			continue
		}
		if out == nil {
			out = map[string]metav1.Time{}
		}
		out[p.Name] = since
		if again == 0 || left < again {
			again = left
		}
	}
	return out, late, again
}

func (o *observed) healthy(disrupted map[string]metav1.Time) (n int32) {
	for _, p := range o.pods {
		if _, gone := disrupted[p.Name]; !gone && p.DeletionTimestamp == nil && pod.Ready(p) {
			n++
		}
	}
	return n
}

// stale says after how long a pod's mark of a disruption that did not come is
// to be taken back: 0 is now, less than 0 never. What kubelets write is theirs.
func stale(p *corev1.Pod, now time.Time) time.Duration {
	c := pod.Condition(p, corev1.DisruptionTarget)
	if c == nil || c.Status != corev1.ConditionTrue || c.Reason == corev1.PodReasonTerminationByKubelet || p.DeletionTimestamp != nil || pod.Finished(p) {
		return -1
	}
	return max(c.LastTransitionTime.Add(patience).Sub(now), 0)
}
