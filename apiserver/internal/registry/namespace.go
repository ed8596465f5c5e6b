package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
)

// NamespaceHook is a Namespace's life: a deletion marks it Terminating, and
// it goes once spec.finalizers and metadata.finalizers are both empty.
func NamespaceHook() *Hook {
	return &Hook{
		BeforeDelete: func(_ context.Context, obj scheme.Object, _ *metav1.DeleteOptions, now metav1.Time) (bool, error) {
			ns := obj.(*corev1.Namespace)
			if ns.DeletionTimestamp == nil {
				// Even one that nothing holds is shown Terminating first.
				ns.DeletionTimestamp = &now
				ns.Status.Phase = corev1.NamespaceTerminating
				return true, nil
			}
			return len(ns.Spec.Finalizers) > 0 || len(ns.Finalizers) > 0, nil
		},
		Removable: func(obj scheme.Object) bool { return len(obj.(*corev1.Namespace).Spec.Finalizers) == 0 },
	}
}
