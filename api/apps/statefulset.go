package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

func statefulSetHooks() scheme.Hooks[appsv1.StatefulSet] {
	return scheme.Hooks[appsv1.StatefulSet]{
		Default: defaultStatefulSet,
		PrepareCreate: func(_ scheme.Context, s *appsv1.StatefulSet) {
			s.Status = appsv1.StatefulSetStatus{}
			core.PreparePodTemplate(&s.Spec.Template, nil)
		},
		ValidateCreate: func(s *appsv1.StatefulSet) field.ErrorList { return validateStatefulSetSpec(&s.Spec, nil) },
		WarnCreate:     func(s *appsv1.StatefulSet) []string { return warnStatefulSet(s, nil) },
		// Pods are named after the set and an ordinal, and named so in DNS.
		ValidateName: apivalidation.NameIsDNSLabel,
		PrepareUpdate: func(_ scheme.Context, s, old *appsv1.StatefulSet) {
			s.Status = old.Status
			core.PreparePodTemplate(&s.Spec.Template, &old.Spec.Template)
		},
		ValidateUpdate: validateStatefulSetUpdate,
		WarnUpdate: func(s, old *appsv1.StatefulSet) []string {
			if s.Generation == old.Generation {
				return nil
			}
			return warnStatefulSet(s, old)
		},
		ResetFields: []string{"status"},
		SpecChanged: func(s, old *appsv1.StatefulSet) bool { return !apiequality.Semantic.DeepEqual(&s.Spec, &old.Spec) },
		UpdateOnly:  true,
	}
}

func statefulSetStatusHooks() scheme.UpdateHooks[appsv1.StatefulSet] {
	return scheme.UpdateHooks[appsv1.StatefulSet]{
		PrepareUpdate:  func(_ scheme.Context, s, old *appsv1.StatefulSet) { s.Spec = old.Spec },
		ValidateUpdate: validateStatefulSetStatus,
		ResetFields:    []string{"spec"},
	}
}

func statefulSetScale() *scheme.Scale {
	return scheme.NewScale(
		func(s *appsv1.StatefulSet) (autoscalingv1.ScaleSpec, autoscalingv1.ScaleStatus) {
			return scaleOf(s.Spec.Replicas, s.Status.Replicas, s.Spec.Selector)
		},
		func(s *appsv1.StatefulSet, n int32) { s.Spec.Replicas = &n })
}

func warnStatefulSet(s, old *appsv1.StatefulSet) []string {
	var oldTemplate *corev1.PodTemplateSpec
	if old != nil {
		oldTemplate = &old.Spec.Template
	}
	warnings := core.WarnPodTemplate(templatePath, &s.Spec.Template, oldTemplate)
	claims := specPath.Child("volumeClaimTemplates")
	for i := range s.Spec.VolumeClaimTemplates {
		warnings = append(warnings, core.WarnPersistentVolumeClaimSpec(claims.Index(i).Child("spec"), &s.Spec.VolumeClaimTemplates[i].Spec)...)
	}
	if n := s.Spec.RevisionHistoryLimit; n != nil && *n < 0 {
		warnings = append(warnings, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended")
	}
	return warnings
}

func validateStatefulSetSpec(s, old *appsv1.StatefulSetSpec) field.ErrorList {
	errs := validatePodManagement(s.PodManagementPolicy)
	errs = append(errs, validateStatefulSetStrategy(&s.UpdateStrategy, specPath.Child("updateStrategy"))...)
	errs = append(errs, validateClaimRetention(s.PersistentVolumeClaimRetentionPolicy)...)
	if s.Replicas != nil {
		errs = append(errs, nonnegative(int64(*s.Replicas), specPath.Child("replicas"))...)
	}
	errs = append(errs, nonnegative(int64(s.MinReadySeconds), specPath.Child("minReadySeconds"))...)
	if s.Ordinals != nil {
		errs = append(errs, nonnegative(int64(s.Ordinals.Start), specPath.Child("ordinals", "start"))...)
	}
	if old == nil {
		errs = append(errs, validateClaimTemplates(s.VolumeClaimTemplates)...)
	}
	silent := ""
	selector, selectorErrs := validateSelector(s.Selector, old != nil && keepsLabelValues(old.Selector),
		selectorRule{empty: "empty selector is invalid for statefulset", unusable: &silent})
	errs = append(errs, selectorErrs...)
	if selector != nil {
		errs = append(errs, validateTemplateLabels(&s.Template, selector)...)
		errs = append(errs, validateStatefulSetTemplate(s, old)...)
		errs = append(errs, validateLasting(&s.Template, "StatefulSet")...)
	}
	if old == nil && s.ServiceName != "" {
		for _, msg := range validation.IsDNS1123Label(s.ServiceName) {
			errs = append(errs, field.Invalid(specPath.Child("serviceName"), s.ServiceName, msg))
		}
	}
	return errs
}

func validatePodManagement(p appsv1.PodManagementPolicyType) field.ErrorList {
	path := specPath.Child("podManagementPolicy")
	switch p {
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
		return nil
	case "":
		return field.ErrorList{field.Required(path, "")}
	}
	return field.ErrorList{field.Invalid(path, p, "must be 'OrderedReady' or 'Parallel'")}
}

func validateStatefulSetStrategy(s *appsv1.StatefulSetUpdateStrategy, path *field.Path) field.ErrorList {
	rolling := path.Child("rollingUpdate")
	switch s.Type {
	case "":
		return field.ErrorList{field.Required(path, "")}
	case appsv1.OnDeleteStatefulSetStrategyType:
		if s.RollingUpdate == nil {
			return nil
		}
		return field.ErrorList{field.Invalid(rolling, internalform.Of(s.RollingUpdate), "only allowed for updateStrategy 'RollingUpdate'")}
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if s.RollingUpdate == nil {
			return nil
		}
		return validateRollingStatefulSet(s.RollingUpdate, rolling)
	}
	return field.ErrorList{field.Invalid(path, internalform.Of(s), "must be 'RollingUpdate' or 'OnDelete'")}
}

func validateRollingStatefulSet(r *appsv1.RollingUpdateStatefulSetStrategy, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r.Partition != nil {
		errs = append(errs, nonnegative(int64(*r.Partition), path.Child("partition"))...)
	}
	if r.MaxUnavailable == nil {
		return errs
	}
	path = path.Child("maxUnavailable")
	errs = append(errs, validateCountOrPercent(r.MaxUnavailable, path)...)
	if isZero(r.MaxUnavailable) {
		errs = append(errs, field.Invalid(path, r.MaxUnavailable, "cannot be 0"))
	}
	return append(errs, validateAtMostAll(r.MaxUnavailable, path)...)
}

func validateClaimRetention(p *appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy) field.ErrorList {
	if p == nil {
		return nil
	}
	path := specPath.Child("persistentVolumeClaimRetentionPolicy")
	errs := validateRetention(p.WhenDeleted, path.Child("whenDeleted"))
	return append(errs, validateRetention(p.WhenScaled, path.Child("whenScaled"))...)
}

func validateRetention(p appsv1.PersistentVolumeClaimRetentionPolicyType, path *field.Path) field.ErrorList {
	switch p {
	case appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType:
		return nil
	}
	return field.ErrorList{field.NotSupported(path, p, []appsv1.PersistentVolumeClaimRetentionPolicyType{
		appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType})}
}

func validateClaimTemplates(claims []corev1.PersistentVolumeClaim) field.ErrorList {
	var errs field.ErrorList
	path := specPath.Child("volumeClaimTemplates")
	for i := range claims {
		errs = append(errs, core.ValidatePersistentVolumeClaimSpec(&claims[i].Spec, path.Index(i).Child("spec"))...)
	}
	return errs
}

// validateStatefulSetTemplate checks the template with the volumes its pods
// will have: those of the claims come first and hide others of their name.
func validateStatefulSetTemplate(s, old *appsv1.StatefulSetSpec) field.ErrorList {
	t := withClaimVolumes(&s.Template, s.VolumeClaimTemplates)
	if old == nil {
		return validateTemplate(t, nil)
	}
	return validateTemplate(t, withClaimVolumes(&old.Template, old.VolumeClaimTemplates))
}

func withClaimVolumes(t *corev1.PodTemplateSpec, claims []corev1.PersistentVolumeClaim) *corev1.PodTemplateSpec {
	if len(claims) == 0 {
		return t
	}
	named := make(map[string]bool, len(claims))
	volumes := make([]corev1.Volume, 0, len(claims)+len(t.Spec.Volumes))
	for i := range claims {
		name := claims[i].Name
		if named[name] {
			continue
		}
		named[name] = true
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}})
	}
	for i := range t.Spec.Volumes {
		if !named[t.Spec.Volumes[i].Name] {
			volumes = append(volumes, t.Spec.Volumes[i])
		}
	}
	with := *t
	with.Spec.Volumes = volumes
	return &with
}

func validateStatefulSetUpdate(s, old *appsv1.StatefulSet) field.ErrorList {
	errs := validateStatefulSetSpec(&s.Spec, &old.Spec)
	kept := s.Spec
	kept.Replicas = old.Spec.Replicas
	kept.Ordinals = old.Spec.Ordinals
	kept.Template = old.Spec.Template
	kept.UpdateStrategy = old.Spec.UpdateStrategy
	kept.RevisionHistoryLimit = old.Spec.RevisionHistoryLimit
	kept.PersistentVolumeClaimRetentionPolicy = old.Spec.PersistentVolumeClaimRetentionPolicy
	kept.MinReadySeconds = old.Spec.MinReadySeconds
	if apiequality.Semantic.DeepEqual(&kept, &old.Spec) {
		return errs
	}
	return append(errs, field.Forbidden(specPath, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"))
}

func validateStatefulSetStatus(s, old *appsv1.StatefulSet) field.ErrorList {
	st := &s.Status
	errs := validateCounts(
		count{"replicas", int64(st.Replicas)},
		count{"readyReplicas", int64(st.ReadyReplicas)},
		count{"currentReplicas", int64(st.CurrentReplicas)},
		count{"updatedReplicas", int64(st.UpdatedReplicas)},
		count{"availableReplicas", int64(st.AvailableReplicas)},
		count{"observedGeneration", st.ObservedGeneration},
		optionalCount("collisionCount", st.CollisionCount))
	errs = append(errs, validateAtMost(st.Replicas, "status.replicas",
		count{"readyReplicas", int64(st.ReadyReplicas)},
		count{"currentReplicas", int64(st.CurrentReplicas)},
		count{"updatedReplicas", int64(st.UpdatedReplicas)},
		count{"availableReplicas", int64(st.AvailableReplicas)})...)
	errs = append(errs, validateAtMost(st.ReadyReplicas, "status.readyReplicas", count{"availableReplicas", int64(st.AvailableReplicas)})...)
	return append(errs, validateCollisions(st.CollisionCount, old.Status.CollisionCount)...)
}
