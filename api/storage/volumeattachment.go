package storage

import (
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

// Limits of a status, in bytes.
const (
	maxErrorMessage       = 1024
	maxAttachmentMetadata = 256 << 10
)

var attachmentHooks = scheme.Hooks[storagev1.VolumeAttachment]{
	PrepareCreate: func(_ scheme.Context, a *storagev1.VolumeAttachment) { a.Status = storagev1.VolumeAttachmentStatus{} },
	PrepareUpdate: func(_ scheme.Context, a, old *storagev1.VolumeAttachment) { a.Status = old.Status },
	ValidateCreate: func(a *storagev1.VolumeAttachment) field.ErrorList {
		return validateAttachment(a)
	},
	ValidateUpdate: validateAttachmentUpdate,
	ResetFields:    []string{"status"},
}

var attachmentStatusHooks = scheme.UpdateHooks[storagev1.VolumeAttachment]{
	PrepareUpdate: func(_ scheme.Context, a, old *storagev1.VolumeAttachment) {
		a.Spec = old.Spec
		metav1.ResetObjectMetaForStatus(&a.ObjectMeta, &old.ObjectMeta)
	},
	ValidateUpdate: validateAttachmentUpdate,
	ResetFields:    []string{"metadata", "spec"},
}

func validateAttachment(a *storagev1.VolumeAttachment) field.ErrorList {
	path := field.NewPath("spec")
	errs := check.CSIDriverName(path.Child("attacher"), a.Spec.Attacher)
	errs = append(errs, validateSource(&a.Spec.Source, path.Child("source"))...)
	errs = append(errs, check.Subdomain(path.Child("nodeName"), a.Spec.NodeName)...)
	errs = append(errs, validateAttachmentStatus(&a.Status, field.NewPath("status"))...)
	if pv := a.Spec.Source.PersistentVolumeName; pv != nil {
		errs = append(errs, check.Subdomain(path.Child("source", "persistentVolumeName"), *pv)...)
	}
	return errs
}

func validateAttachmentUpdate(a, old *storagev1.VolumeAttachment) field.ErrorList {
	errs := validateAttachment(a)
	return append(errs, check.Unchanged(field.NewPath("spec"), a.Spec, old.Spec, internalform.Of)...)
}

func validateSource(s *storagev1.VolumeAttachmentSource, path *field.Path) field.ErrorList {
	switch {
	case s.InlineVolumeSpec == nil && s.PersistentVolumeName == nil:
		return field.ErrorList{field.Required(path, "must specify exactly one of inlineVolumeSpec and persistentVolumeName")}
	case s.InlineVolumeSpec != nil && s.PersistentVolumeName != nil:
		return field.ErrorList{field.Forbidden(path, "must specify exactly one of inlineVolumeSpec and persistentVolumeName")}
	case s.PersistentVolumeName != nil:
		if *s.PersistentVolumeName == "" {
			return field.ErrorList{field.Required(path.Child("persistentVolumeName"), "must specify non empty persistentVolumeName")}
		}
		return nil
	}
	return validateInlineVolume(s.InlineVolumeSpec, path.Child("inlineVolumeSpec"))
}

func validateInlineVolume(s *corev1.PersistentVolumeSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	forbid := func(set bool, name string) {
		if set {
			errs = append(errs, field.Forbidden(path.Child(name), "may not be specified in the context of inline volumes"))
		}
	}
	forbid(s.ClaimRef != nil, "claimRef")
	forbid(len(s.Capacity) != 0, "capacity")
	if s.CSI == nil {
		errs = append(errs, field.Required(path.Child("csi"), "has to be specified in the context of inline volumes"))
	}
	errs = append(errs, validateAccessModes(s.AccessModes, path.Child("accessModes"))...)
	forbid(s.PersistentVolumeReclaimPolicy != "", "persistentVolumeReclaimPolicy")
	forbid(s.NodeAffinity != nil, "nodeAffinity")
	if s.CSI != nil {
		errs = append(errs, validateCSISource(s.CSI, path.Child("csi"))...)
	}
	forbid(s.StorageClassName != "", "storageClassName")
	forbid(s.VolumeMode != nil && *s.VolumeMode != corev1.PersistentVolumeFilesystem && *s.VolumeMode != corev1.PersistentVolumeBlock, "volumeMode")
	return errs
}

func validateAccessModes(modes []corev1.PersistentVolumeAccessMode, path *field.Path) field.ErrorList {
	if len(modes) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for _, m := range modes {
		errs = append(errs, check.OneOf(path, m, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)...)
	}
	alone := slices.Contains(modes, corev1.ReadWriteOncePod)
	if alone && slices.ContainsFunc(modes, func(m corev1.PersistentVolumeAccessMode) bool { return m != corev1.ReadWriteOncePod }) {
		errs = append(errs, field.Forbidden(path, "may not use ReadWriteOncePod with other access modes"))
	}
	return errs
}

func validateCSISource(s *corev1.CSIPersistentVolumeSource, path *field.Path) field.ErrorList {
	errs := check.CSIDriverName(path.Child("driver"), s.Driver)
	if s.VolumeHandle == "" {
		errs = append(errs, field.Required(path.Child("volumeHandle"), ""))
	}
	for _, ref := range []struct {
		name   string
		secret *corev1.SecretReference
	}{
		{"controllerPublishSecretRef", s.ControllerPublishSecretRef},
		{"controllerExpandSecretRef", s.ControllerExpandSecretRef},
		{"nodePublishSecretRef", s.NodePublishSecretRef},
		{"nodeExpandSecretRef", s.NodeExpandSecretRef},
	} {
		if ref.secret == nil {
			continue
		}
		errs = append(errs, validateSecretPart(ref.secret.Name, path.Child(ref.name, "name"))...)
		errs = append(errs, validateSecretPart(ref.secret.Namespace, path.Child(ref.name, "namespace"))...)
	}
	return errs
}

func validateSecretPart(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return check.Label(path, name)
}

func validateAttachmentStatus(s *storagev1.VolumeAttachmentStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	size := 0
	for k, v := range s.AttachmentMetadata {
		size += len(k) + len(v)
	}
	if size > maxAttachmentMetadata {
		errs = append(errs, field.TooLong(path.Child("attachmentMetadata"), "", maxAttachmentMetadata))
	}
	errs = append(errs, validateVolumeError(s.AttachError, path.Child("attachError"))...)
	return append(errs, validateVolumeError(s.DetachError, path.Child("detachError"))...)
}

func validateVolumeError(e *storagev1.VolumeError, path *field.Path) field.ErrorList {
	if e == nil {
		return nil
	}
	var errs field.ErrorList
	if len(e.Message) > maxErrorMessage {
		errs = append(errs, field.TooLong(path.Child("message"), "", maxErrorMessage))
	}
	if e.ErrorCode != nil && *e.ErrorCode < 0 {
		errs = append(errs, field.Invalid(path.Child("errorCode"), *e.ErrorCode, validation.InclusiveRangeError(0, math.MaxInt32)))
	}
	return errs
}
