// Package pvprotection keeps volumes that are deleted while they are bound.
package pvprotection

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

const finalizer = "kubernetes.io/pv-protection"

// plan gives the finalizers that a volume should have; changed is false when
// they are right.
func plan(v *corev1.PersistentVolume) (finalizers []string, changed bool) {
	held := slices.Contains(v.Finalizers, finalizer)
	switch {
	case v.DeletionTimestamp == nil && !held:
		return append(slices.Clone(v.Finalizers), finalizer), true
	case v.DeletionTimestamp != nil && held && v.Status.Phase != corev1.VolumeBound:
		return slices.DeleteFunc(slices.Clone(v.Finalizers), func(f string) bool { return f == finalizer }), true
	}
	return nil, false
}
