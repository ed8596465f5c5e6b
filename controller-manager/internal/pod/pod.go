// Package pod has what controllers ask about pods, and how a pod is made from
// a template. Everything here is pure.
package pod

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Condition of a type, nil when there is none.
func Condition(p *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == t {
			return c
		}
	}
	return nil
}

// Ready reports whether the pod says that it is.
func Ready(p *corev1.Pod) bool {
	c := Condition(p, corev1.PodReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

// readySince is zero for pods that are not ready.
func readySince(p *corev1.Pod) time.Time {
	if c := Condition(p, corev1.PodReady); c != nil && c.Status == corev1.ConditionTrue {
		return c.LastTransitionTime.Time
	}
	return time.Time{}
}

// Available reports whether the pod has been ready for minReady seconds, and
// if not, after how long it may be; 0 is unknown.
func Available(p *corev1.Pod, minReady int32, now time.Time) (bool, time.Duration) {
	if !Ready(p) {
		return false, 0
	}
	if minReady <= 0 {
		return true, 0
	}
	since := readySince(p)
	if since.IsZero() {
		return false, 0
	}
	if left := since.Add(time.Duration(minReady) * time.Second).Sub(now); left > 0 {
		return false, left
	}
	return true, 0
}

// Finished reports whether the pod's containers have ended for good.
func Finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// Terminating reports whether the pod is on its way out and still running.
func Terminating(p *corev1.Pod) bool { return !Finished(p) && p.DeletionTimestamp != nil }

// Active pods count: neither finished nor being deleted.
func Active(p *corev1.Pod) bool { return !Finished(p) && p.DeletionTimestamp == nil }

// ActiveOnly are the active ones.
func ActiveOnly(pods []*corev1.Pod) []*corev1.Pod {
	out := make([]*corev1.Pod, 0, len(pods))
	for _, p := range pods {
		if Active(p) {
			out = append(out, p)
		}
	}
	return out
}

// FromTemplate makes a pod of a template for a controller's object. Its name
// is the server's choice.
func FromTemplate(t *corev1.PodTemplateSpec, namespace, owner string, ref *metav1.OwnerReference) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, GenerateName: namePrefix(owner), Labels: maps.Clone(t.Labels), Annotations: maps.Clone(t.Annotations),
		Finalizers: slices.Clone(t.Finalizers),
	}}
	if ref != nil {
		p.OwnerReferences = []metav1.OwnerReference{*ref}
	}
	t.Spec.DeepCopyInto(&p.Spec)
	return p
}

// namePrefix goes without the dash where that would be no name.
func namePrefix(owner string) string {
	if len(validation.NameIsDNSSubdomain(owner+"-", true)) != 0 {
		return owner
	}
	return owner + "-"
}
