package core

import (
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

// ValidatePersistentVolume checks a volume.
func ValidatePersistentVolume(v *corev1.PersistentVolume) field.ErrorList {
	return append(ValidatePersistentVolumeSpec(&v.Spec, v.Name, false, field.NewPath("spec")), validateMountOptions(v)...)
}

// notInline says why a field has no place in a volume without an object.
const notInline = "may not be specified in the context of inline volumes"

// ValidatePersistentVolumeSpec checks the spec of the named volume. An inline
// one, in a VolumeAttachment, has a CSI source and little else.
func ValidatePersistentVolumeSpec(s *corev1.PersistentVolumeSpec, volume string, inline bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if inline {
		errs = validateInline(s, p)
	}
	if len(s.AccessModes) == 0 {
		errs = append(errs, field.Required(p.Child("accessModes"), ""))
	}
	errs = append(errs, validateAccessModes(s.AccessModes, p.Child("accessModes"))...)
	if !inline {
		errs = append(errs, validateVolumeSize(s.Capacity, p.Child("capacity"))...)
	}
	errs = append(errs, validateReclaimPolicy(s, inline, p.Child("persistentVolumeReclaimPolicy"))...)
	if s.NodeAffinity != nil {
		if inline {
			errs = append(errs, field.Forbidden(p.Child("nodeAffinity"), notInline))
		} else {
			errs = append(errs, validateVolumeAffinity(s.NodeAffinity, p.Child("nodeAffinity"))...)
		}
	}
	errs = append(errs, validatePersistentSource(s, volume, p)...)
	if s.HostPath != nil && s.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle && path.Clean(s.HostPath.Path) == "/" {
		errs = append(errs, field.Forbidden(p.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
	}
	if s.StorageClassName != "" {
		if inline {
			errs = append(errs, field.Forbidden(p.Child("storageClassName"), notInline))
		} else {
			errs = append(errs, check.Subdomain(p.Child("storageClassName"), s.StorageClassName)...)
		}
	}
	if s.VolumeMode != nil && inline {
		errs = append(errs, field.Forbidden(p.Child("volumeMode"), notInline))
	} else {
		errs = append(errs, validateVolumeMode(s.VolumeMode, p.Child("volumeMode"))...)
	}
	return append(errs, validateVolumeClass(s.VolumeAttributesClassName, inline, p.Child("volumeAttributesClassName"))...)
}

func validateInline(s *corev1.PersistentVolumeSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.ClaimRef != nil {
		errs = append(errs, field.Forbidden(p.Child("claimRef"), notInline))
	}
	if len(s.Capacity) != 0 {
		errs = append(errs, field.Forbidden(p.Child("capacity"), notInline))
	}
	if s.CSI == nil {
		errs = append(errs, field.Required(p.Child("csi"), "has to be specified in the context of inline volumes"))
	}
	return errs
}

func validateVolumeSize(capacity corev1.ResourceList, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(capacity) == 0 {
		errs = append(errs, field.Required(p, ""))
	}
	if _, ok := capacity[corev1.ResourceStorage]; !ok || len(capacity) > 1 {
		errs = append(errs, field.NotSupported(p, capacity, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	for _, name := range sortedNames(capacity) {
		at := p.Key(string(name))
		errs = append(errs, validateCapacity(capacity[name], at)...)
		errs = append(errs, validatePositive(capacity[name], at)...)
	}
	return errs
}

func validateReclaimPolicy(s *corev1.PersistentVolumeSpec, inline bool, p *field.Path) field.ErrorList {
	policy := s.PersistentVolumeReclaimPolicy
	switch {
	case policy == "":
		return nil
	case inline:
		if policy != corev1.PersistentVolumeReclaimRetain {
			return field.ErrorList{field.Forbidden(p, fmt.Sprintf("may only be %q in the context of inline volumes", corev1.PersistentVolumeReclaimRetain))}
		}
		return nil
	}
	return check.OneOf(p, policy, corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)
}

func validateVolumeAffinity(a *corev1.VolumeNodeAffinity, p *field.Path) field.ErrorList {
	if a.Required == nil {
		return field.ErrorList{field.Required(p.Child("required"), "must specify required node constraints")}
	}
	return ValidateNodeSelector(a.Required, false, p.Child("required"))
}

// validatePersistentSource requires exactly one source and checks it.
func validatePersistentSource(s *corev1.PersistentVolumeSpec, volume string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	n := 0
	for i := range persistentSources {
		c := &persistentSources[i]
		if !c.set(&s.PersistentVolumeSource) {
			continue
		}
		if n++; n > 1 {
			errs = append(errs, field.Forbidden(p.Child(c.name), "may not specify more than 1 volume type"))
			continue
		}
		errs = append(errs, c.check(&s.PersistentVolumeSource, volume, p)...)
		if s.Local != nil && c.name == "local" && s.NodeAffinity == nil {
			errs = append(errs, field.Required(p.Child("nodeAffinity"), "Local volume requires node affinity"))
		}
	}
	if n == 0 {
		errs = append(errs, field.Required(p, "must specify a volume type"))
	}
	return errs
}

func validateVolumeClass(class *string, inline bool, p *field.Path) field.ErrorList {
	switch {
	case class == nil:
		return nil
	case inline:
		return field.ErrorList{field.Forbidden(p, notInline)}
	case *class == "":
		return field.ErrorList{field.Required(p, "an empty string is disallowed")}
	}
	return check.Subdomain(p, *class)
}

// validateMountOptions refuses the annotation, older than the field, where it
// was never obeyed.
func validateMountOptions(v *corev1.PersistentVolume) field.ErrorList {
	if _, ok := v.Annotations[corev1.MountOptionAnnotation]; !ok {
		return nil
	}
	s := &v.Spec
	if s.GCEPersistentDisk != nil || s.AWSElasticBlockStore != nil || s.AzureFile != nil || s.CephFS != nil || s.Cinder != nil ||
		s.AzureDisk != nil || s.Glusterfs != nil || s.ISCSI != nil || s.NFS != nil || s.Quobyte != nil || s.RBD != nil || s.VsphereVolume != nil {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("metadata", "annotations", corev1.MountOptionAnnotation), "may not specify mount options for this volume type")}
}

// ValidatePersistentVolumeUpdate keeps the source, the mode and, once set, the
// node affinity.
func ValidatePersistentVolumeUpdate(v, old *corev1.PersistentVolume) field.ErrorList {
	errs := ValidatePersistentVolume(v)
	// The spec is checked twice, and its errors are counted twice.
	errs = append(errs, ValidatePersistentVolumeSpec(&v.Spec, v.Name, false, field.NewPath("spec"))...)

	source := v.Spec.PersistentVolumeSource
	if c := old.Spec.CSI; c != nil && c.ControllerExpandSecretRef == nil && source.CSI != nil && source.CSI.ControllerExpandSecretRef != nil {
		// A secret for growing may be added to a volume made before there was one.
		csi := *source.CSI
		csi.ControllerExpandSecretRef = nil
		source.CSI = &csi
	}
	if !apiequality.Semantic.DeepEqual(source, old.Spec.PersistentVolumeSource) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "persistentvolumesource"), "spec.persistentvolumesource is immutable after creation\n"+
			diff.Diff(internalform.Of(old.Spec.PersistentVolumeSource), internalform.Of(source))))
	}
	errs = append(errs, check.Unchanged(field.NewPath("volumeMode"), v.Spec.VolumeMode, old.Spec.VolumeMode, nil)...)
	if old.Spec.NodeAffinity != nil && !affinityKept(v.Spec.NodeAffinity, old.Spec.NodeAffinity) {
		errs = append(errs, field.Invalid(field.NewPath("nodeAffinity"), internalform.Of(v.Spec.NodeAffinity),
			check.Immutable+", except for updating from beta label to GA"))
	}
	if was, now := old.Spec.VolumeAttributesClassName, v.Spec.VolumeAttributesClassName; was != nil {
		p := field.NewPath("spec", "volumeAttributesClassName")
		if now == nil {
			errs = append(errs, field.Forbidden(p, "update from non-nil value to nil is forbidden"))
		} else if *now == "" {
			errs = append(errs, field.Forbidden(p, "update from non-nil value to an empty string is forbidden"))
		}
	}
	return errs
}

// finalLabels are the successors of labels that were beta.
var finalLabels = map[string]string{
	corev1.LabelFailureDomainBetaZone:   corev1.LabelTopologyZone,
	corev1.LabelFailureDomainBetaRegion: corev1.LabelTopologyRegion,
	corev1.LabelInstanceType:            corev1.LabelInstanceTypeStable,
	"beta.kubernetes.io/os":             corev1.LabelOSStable,
	"beta.kubernetes.io/arch":           corev1.LabelArchStable,
}

// affinityKept reports whether nothing but the names of beta labels changed.
func affinityKept(now, old *corev1.VolumeNodeAffinity) bool {
	if now == nil || now.Required == nil || old.Required == nil || len(now.Required.NodeSelectorTerms) != len(old.Required.NodeSelectorTerms) {
		return apiequality.Semantic.DeepEqual(now, old)
	}
	for i := range now.Required.NodeSelectorTerms {
		a, b := &now.Required.NodeSelectorTerms[i], &old.Required.NodeSelectorTerms[i]
		if len(a.MatchExpressions) != len(b.MatchExpressions) || !apiequality.Semantic.DeepEqual(a.MatchFields, b.MatchFields) {
			return false
		}
		for j := range a.MatchExpressions {
			was := b.MatchExpressions[j]
			if final := finalLabels[was.Key]; final != "" && a.MatchExpressions[j].Key == final {
				was.Key = final
			}
			if !apiequality.Semantic.DeepEqual(a.MatchExpressions[j], was) {
				return false
			}
		}
	}
	return true
}
