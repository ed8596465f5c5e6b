// Package pvbinder binds claims to volumes, asks provisioners for volumes that
// are not there, and says what became of each.
package pvbinder

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// classOf a claim; the annotation is older than the field.
func classOf(c *corev1.PersistentVolumeClaim) string {
	if v, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return v
	}
	if c.Spec.StorageClassName != nil {
		return *c.Spec.StorageClassName
	}
	return ""
}

func classOfVolume(v *corev1.PersistentVolume) string {
	if s, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return s
	}
	return v.Spec.StorageClassName
}

// isFor reports whether a volume is reserved for a claim, by its name and, once
// it is known, its UID.
func isFor(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) bool {
	r := v.Spec.ClaimRef
	return r != nil && r.Namespace == c.Namespace && r.Name == c.Name && (r.UID == "" || r.UID == c.UID)
}

// fits says why a volume can't be the claim's; nil is that it can.
func fits(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) error {
	request, capacity := c.Spec.Resources.Requests[corev1.ResourceStorage], v.Spec.Capacity[corev1.ResourceStorage]
	switch {
	case capacity.Cmp(request) < 0:
		return errors.New("requested PV is too small")
	case classOf(c) != classOfVolume(v):
		return errors.New("storageClassName does not match")
	case value(c.Spec.VolumeAttributesClassName) != value(v.Spec.VolumeAttributesClassName):
		return errors.New("volumeAttributesClassName does not match")
	case mode(c.Spec.VolumeMode) != mode(v.Spec.VolumeMode):
		return errors.New("incompatible volumeMode")
	}
	for _, m := range c.Spec.AccessModes {
		if !slices.Contains(v.Spec.AccessModes, m) {
			return errors.New("incompatible accessMode")
		}
	}
	return nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func mode(m *corev1.PersistentVolumeMode) corev1.PersistentVolumeMode {
	if m == nil {
		return corev1.PersistentVolumeFilesystem
	}
	return *m
}

// best is the volume for a claim: one reserved for it, or the smallest that
// fits. Claims that wait for their pod get reserved ones only: the scheduler
// chooses.
func best(c *corev1.PersistentVolumeClaim, volumes iter.Seq[*corev1.PersistentVolume], wait bool) (*corev1.PersistentVolume, error) {
	selector := labels.Everything()
	if c.Spec.Selector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(c.Spec.Selector); err != nil {
			return nil, fmt.Errorf("the claim's selector: %w", err)
		}
	}
	var found *corev1.PersistentVolume
	for v := range volumes {
		reserved := isFor(v, c)
		if v.DeletionTimestamp != nil || v.Spec.ClaimRef != nil && !reserved || fits(v, c) != nil {
			continue
		}
		if reserved {
			return v, nil
		}
		if wait || v.Status.Phase != corev1.VolumeAvailable || !selector.Matches(labels.Set(v.Labels)) {
			continue
		}
		if found == nil || smaller(v, found) {
			found = v
		}
	}
	return found, nil
}

func smaller(a, b *corev1.PersistentVolume) bool {
	x, y := a.Spec.Capacity[corev1.ResourceStorage], b.Spec.Capacity[corev1.ResourceStorage]
	return cmp.Or(x.Cmp(y), cmp.Compare(a.Name, b.Name)) < 0
}
