package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func persistentVolumeResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "PersistentVolume",
		Plural: "persistentvolumes", Singular: "persistentvolume",
		ShortNames:    []string{"pv"},
		New:           func() runtime.Object { return new(corev1.PersistentVolume) },
		NewList:       func() runtime.Object { return new(corev1.PersistentVolumeList) },
		StoragePrefix: "persistentvolumes",
		Columns:       volumeColumns(),
		Row:           scheme.Rows(volumeRow),
		Strategy: scheme.Hooks[corev1.PersistentVolume]{
			Default: DefaultPersistentVolume,
			PrepareCreate: func(c scheme.Context, v *corev1.PersistentVolume) {
				v.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending, LastPhaseTransitionTime: c.Now.DeepCopy()}
			},
			ValidateCreate: ValidatePersistentVolume,
			WarnCreate:     warnVolume,
			PrepareUpdate:  func(_ scheme.Context, v, old *corev1.PersistentVolume) { v.Status = old.Status },
			ValidateUpdate: ValidatePersistentVolumeUpdate,
			WarnUpdate:     func(v, _ *corev1.PersistentVolume) []string { return warnVolume(v) },
			ResetFields:    []string{"status"},
		}.Erase(),
		Subresources: []scheme.Subresource{
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[corev1.PersistentVolume]{
				PrepareUpdate: prepareVolumeStatus,
				ValidateUpdate: func(v, _ *corev1.PersistentVolume) field.ErrorList {
					if v.ResourceVersion == "" {
						return field.ErrorList{field.Required(field.NewPath("resourceVersion"), "")}
					}
					return nil
				},
				ResetFields: []string{"spec"},
			}.Pointer()},
		},
	}
}

// prepareVolumeStatus notes when the phase changes, unless the writer did.
func prepareVolumeStatus(c scheme.Context, v, old *corev1.PersistentVolume) {
	v.Spec = old.Spec
	was, now := old.Status.LastPhaseTransitionTime, v.Status.LastPhaseTransitionTime
	switch {
	case v.Status.Phase == old.Status.Phase:
		if now == nil {
			v.Status.LastPhaseTransitionTime = was
		}
	case now == nil || now.Equal(was):
		v.Status.LastPhaseTransitionTime = c.Now.DeepCopy()
	}
}

// removedSources are sources whose drivers are gone.
var removedSources = []struct {
	set  func(*corev1.PersistentVolumeSource) bool
	text string
}{
	{func(s *corev1.PersistentVolumeSource) bool { return s.CephFS != nil }, "spec.cephfs: deprecated in v1.28, non-functional in v1.31+"},
	{func(s *corev1.PersistentVolumeSource) bool { return s.PhotonPersistentDisk != nil }, "spec.photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+"},
	{func(s *corev1.PersistentVolumeSource) bool { return s.ScaleIO != nil }, "spec.scaleIO: deprecated in v1.16, non-functional in v1.22+"},
	{func(s *corev1.PersistentVolumeSource) bool { return s.StorageOS != nil }, "spec.storageOS: deprecated in v1.22, non-functional in v1.25+"},
	{func(s *corev1.PersistentVolumeSource) bool { return s.Glusterfs != nil }, "spec.glusterfs: deprecated in v1.25, non-functional in v1.26+"},
	{func(s *corev1.PersistentVolumeSource) bool { return s.RBD != nil }, "spec.rbd: deprecated in v1.28, non-functional in v1.31+"},
}

func warnVolume(v *corev1.PersistentVolume) []string {
	warnings := warnStorageClassAnnotation(v.Annotations)
	if _, ok := v.Annotations[corev1.MountOptionAnnotation]; ok {
		warnings = append(warnings, "metadata.annotations["+corev1.MountOptionAnnotation+`]: deprecated since v1.31; use "mountOptions" attribute instead`)
	}
	if v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		warnings = append(warnings, "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.")
	}
	if a := v.Spec.NodeAffinity; a != nil {
		warnings = append(warnings, WarnNodeSelector(a.Required, field.NewPath("spec", "nodeAffinity", "required"))...)
	}
	for i := range removedSources {
		if removedSources[i].set(&v.Spec.PersistentVolumeSource) {
			warnings = append(warnings, removedSources[i].text)
		}
	}
	return warnings
}

func volumeColumns() []metav1.TableColumnDefinition {
	spec, status := corev1.PersistentVolumeSpec{}, corev1.PersistentVolumeStatus{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("Capacity", spec, "capacity"),
		table.Field("Access Modes", spec, "accessModes"),
		table.Field("Reclaim Policy", spec, "persistentVolumeReclaimPolicy"),
		table.Field("Status", status, "phase"),
		table.Field("Claim", spec, "claimRef"),
		table.String("StorageClass", "StorageClass of the pv"),
		table.String("VolumeAttributesClass", "VolumeAttributesClass of the pv"),
		table.Field("Reason", status, "reason"),
		table.Age(),
		table.Wide(table.Field("VolumeMode", spec, "volumeMode")),
	}
}

func volumeRow(v *corev1.PersistentVolume, now metav1.Time) []any {
	claim := ""
	if r := v.Spec.ClaimRef; r != nil {
		claim = r.Namespace + "/" + r.Name
	}
	phase := string(v.Status.Phase)
	if v.DeletionTimestamp != nil {
		phase = "Terminating"
	}
	class, ok := v.Annotations[corev1.BetaStorageClassAnnotation]
	if !ok {
		class = v.Spec.StorageClassName
	}
	size := v.Spec.Capacity[corev1.ResourceStorage]
	return []any{
		v.Name, size.String(), accessModesText(v.Spec.AccessModes), string(v.Spec.PersistentVolumeReclaimPolicy), phase, claim, class,
		unsetIfNil(v.Spec.VolumeAttributesClassName), v.Status.Reason, table.Since(v.CreationTimestamp, now), unsetIfNil(v.Spec.VolumeMode),
	}
}
