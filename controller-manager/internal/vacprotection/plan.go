// Package vacprotection keeps volume attributes classes that are deleted while
// claims or volumes are of them.
package vacprotection

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

const finalizer = "kubernetes.io/vac-protection"

// plan gives the finalizers that a class should have; changed is false when
// they are right.
func plan(c *storagev1.VolumeAttributesClass, used bool) (finalizers []string, changed bool) {
	held := slices.Contains(c.Finalizers, finalizer)
	switch {
	case c.DeletionTimestamp == nil && !held:
		return append(slices.Clone(c.Finalizers), finalizer), true
	case c.DeletionTimestamp != nil && held && !used:
		return slices.DeleteFunc(slices.Clone(c.Finalizers), func(f string) bool { return f == finalizer }), true
	}
	return nil, false
}

// classesOfClaim are those that a claim wants, has, and is on its way to.
func classesOfClaim(c *corev1.PersistentVolumeClaim) (names []string) {
	add := func(name *string) {
		if name != nil && *name != "" && !slices.Contains(names, *name) {
			names = append(names, *name)
		}
	}
	add(c.Spec.VolumeAttributesClassName)
	add(c.Status.CurrentVolumeAttributesClassName)
	if m := c.Status.ModifyVolumeStatus; m != nil {
		add(&m.TargetVolumeAttributesClassName)
	}
	return names
}

func classOfVolume(v *corev1.PersistentVolume) string {
	if v.Spec.VolumeAttributesClassName == nil {
		return ""
	}
	return *v.Spec.VolumeAttributesClassName
}
