package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func persistentVolumeClaimResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "PersistentVolumeClaim",
		Plural: "persistentvolumeclaims", Singular: "persistentvolumeclaim",
		ShortNames:    []string{"pvc"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.PersistentVolumeClaim) },
		NewList:       func() runtime.Object { return new(corev1.PersistentVolumeClaimList) },
		StoragePrefix: "persistentvolumeclaims",
		Columns:       claimColumns(),
		Row:           scheme.Rows(claimRow),
		Strategy: scheme.Hooks[corev1.PersistentVolumeClaim]{
			Default: DefaultPersistentVolumeClaim,
			PrepareCreate: func(_ scheme.Context, c *corev1.PersistentVolumeClaim) {
				c.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
				prepareDataSources(&c.Spec, nil)
			},
			ValidateCreate: ValidatePersistentVolumeClaim,
			WarnCreate:     warnClaim,
			PrepareUpdate: func(_ scheme.Context, c, old *corev1.PersistentVolumeClaim) {
				c.Status = old.Status
				prepareDataSources(&c.Spec, &old.Spec)
			},
			ValidateUpdate: func(c, old *corev1.PersistentVolumeClaim) field.ErrorList {
				return append(ValidatePersistentVolumeClaim(c), ValidatePersistentVolumeClaimUpdate(c, old)...)
			},
			WarnUpdate:  func(c, _ *corev1.PersistentVolumeClaim) []string { return warnClaim(c) },
			ResetFields: []string{"status"},
		}.Erase(),
		Subresources: []scheme.Subresource{
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[corev1.PersistentVolumeClaim]{
				PrepareUpdate: func(_ scheme.Context, c, old *corev1.PersistentVolumeClaim) {
					c.Spec = old.Spec
					// Volume health is not on by default.
					if old.Status.HealthStatus == nil {
						c.Status.HealthStatus = nil
					}
				},
				ValidateUpdate: func(c, _ *corev1.PersistentVolumeClaim) field.ErrorList { return validateClaimStatus(c) },
				ResetFields:    []string{"spec"},
			}.Pointer()},
		},
	}
}

func claimColumns() []metav1.TableColumnDefinition {
	spec, status := corev1.PersistentVolumeClaimSpec{}, corev1.PersistentVolumeClaimStatus{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("Status", status, "phase"),
		table.Field("Volume", spec, "volumeName"),
		table.Field("Capacity", status, "capacity"),
		table.Field("Access Modes", status, "accessModes"),
		table.String("StorageClass", "StorageClass of the pvc"),
		table.String("VolumeAttributesClass", "VolumeAttributesClass of the pvc"),
		table.Age(),
		table.Wide(table.Field("VolumeMode", spec, "volumeMode")),
	}
}

func claimRow(c *corev1.PersistentVolumeClaim, now metav1.Time) []any {
	phase := string(c.Status.Phase)
	if c.DeletionTimestamp != nil {
		phase = "Terminating"
	}
	capacity, modes := "", ""
	if c.Spec.VolumeName != "" {
		if q, ok := c.Status.Capacity[corev1.ResourceStorage]; ok {
			capacity = q.String()
		} else {
			capacity = "0"
		}
		modes = accessModesText(c.Status.AccessModes)
	}
	class := ""
	if name, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		class = name
	} else if c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	return []any{
		c.Name, phase, c.Spec.VolumeName, capacity, modes, class, unsetIfNil(c.Spec.VolumeAttributesClassName),
		table.Since(c.CreationTimestamp, now), unsetIfNil(c.Spec.VolumeMode),
	}
}

// accessModesText abbreviates each mode once, in a fixed order.
func accessModesText(modes []corev1.PersistentVolumeAccessMode) string {
	var text []string
	for _, m := range []struct {
		mode  corev1.PersistentVolumeAccessMode
		short string
	}{
		{corev1.ReadWriteOnce, "RWO"}, {corev1.ReadOnlyMany, "ROX"}, {corev1.ReadWriteMany, "RWX"}, {corev1.ReadWriteOncePod, "RWOP"},
	} {
		if slices.Contains(modes, m.mode) {
			text = append(text, m.short)
		}
	}
	return strings.Join(text, ",")
}

func unsetIfNil[T ~string](s *T) string {
	if s == nil {
		return "<unset>"
	}
	return string(*s)
}
