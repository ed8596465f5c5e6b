package core

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
)

// DefaultReplicationController fills selector and labels from the template,
// and the template itself.
func DefaultReplicationController(r *corev1.ReplicationController) {
	if r.Spec.Replicas == nil {
		r.Spec.Replicas = new(int32(1))
	}
	t := r.Spec.Template
	if t == nil {
		return
	}
	if len(t.Labels) > 0 {
		if len(r.Spec.Selector) == 0 {
			r.Spec.Selector = maps.Clone(t.Labels)
		}
		if len(r.Labels) == 0 {
			r.Labels = maps.Clone(t.Labels)
		}
	}
	DefaultPodTemplate(t)
}
