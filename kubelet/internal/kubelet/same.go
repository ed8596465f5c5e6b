package kubelet

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// sameButStatus reports whether two versions of a pod differ at most in what
// its kubelet itself has written. Conditions of others open readiness gates.
func sameButStatus(a, b *corev1.Pod) bool {
	if (a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) || !equality.Semantic.DeepEqual(a.DeletionGracePeriodSeconds, b.DeletionGracePeriodSeconds) {
		return false
	}
	if len(a.Spec.ReadinessGates) > 0 || len(b.Spec.ReadinessGates) > 0 {
		return false
	}
	if !maps.Equal(a.Labels, b.Labels) || !maps.Equal(a.Annotations, b.Annotations) {
		return false
	}
	// A generation is a specification's; pods of old servers have none.
	return a.Generation == b.Generation && a.Generation > 0 || equality.Semantic.DeepEqual(&a.Spec, &b.Spec)
}
