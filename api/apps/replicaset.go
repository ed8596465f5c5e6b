package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
	"xebec.dev/api/scheme"
)

func replicaSetHooks() scheme.Hooks[appsv1.ReplicaSet] {
	return scheme.Hooks[appsv1.ReplicaSet]{
		Default: defaultReplicaSet,
		PrepareCreate: func(_ scheme.Context, r *appsv1.ReplicaSet) {
			r.Status = appsv1.ReplicaSetStatus{}
			core.PreparePodTemplate(&r.Spec.Template, nil)
		},
		ValidateCreate: func(r *appsv1.ReplicaSet) field.ErrorList { return validateReplicaSetSpec(&r.Spec, nil) },
		WarnCreate: func(r *appsv1.ReplicaSet) []string {
			return append(warnName(r.Name), core.WarnPodTemplate(templatePath, &r.Spec.Template, nil)...)
		},
		PrepareUpdate: func(_ scheme.Context, r, old *appsv1.ReplicaSet) {
			r.Status = old.Status
			core.PreparePodTemplate(&r.Spec.Template, &old.Spec.Template)
		},
		ValidateUpdate: func(r, old *appsv1.ReplicaSet) field.ErrorList {
			errs := validateReplicaSetSpec(&r.Spec, &old.Spec)
			return append(errs, apivalidation.ValidateImmutableField(r.Spec.Selector, old.Spec.Selector, selectorPath)...)
		},
		WarnUpdate: func(r, old *appsv1.ReplicaSet) []string {
			if r.Generation == old.Generation {
				return nil
			}
			return core.WarnPodTemplate(templatePath, &r.Spec.Template, &old.Spec.Template)
		},
		ResetFields: []string{"status"},
		SpecChanged: func(r, old *appsv1.ReplicaSet) bool { return !apiequality.Semantic.DeepEqual(&r.Spec, &old.Spec) },
		UpdateOnly:  true,
	}
}

func replicaSetStatusHooks() scheme.UpdateHooks[appsv1.ReplicaSet] {
	return scheme.UpdateHooks[appsv1.ReplicaSet]{
		PrepareUpdate:  func(_ scheme.Context, r, old *appsv1.ReplicaSet) { r.Spec = old.Spec },
		ValidateUpdate: func(r, _ *appsv1.ReplicaSet) field.ErrorList { return validateReplicaSetStatus(&r.Status) },
		ResetFields:    []string{"spec"},
	}
}

func replicaSetScale() *scheme.Scale {
	return scheme.NewScale(
		func(r *appsv1.ReplicaSet) (autoscalingv1.ScaleSpec, autoscalingv1.ScaleStatus) {
			return scaleOf(r.Spec.Replicas, r.Status.Replicas, r.Spec.Selector)
		},
		func(r *appsv1.ReplicaSet, n int32) { r.Spec.Replicas = &n })
}

func defaultReplicaSet(r *appsv1.ReplicaSet) {
	core.DefaultPodTemplate(&r.Spec.Template)
	setDefault(&r.Spec.Replicas, 1)
}

func validateReplicaSetSpec(s, old *appsv1.ReplicaSetSpec) field.ErrorList {
	var errs field.ErrorList
	if s.Replicas != nil {
		errs = append(errs, nonnegative(int64(*s.Replicas), specPath.Child("replicas"))...)
	}
	errs = append(errs, nonnegative(int64(s.MinReadySeconds), specPath.Child("minReadySeconds"))...)
	unusable := "invalid label selector"
	selector, selectorErrs := validateSelector(s.Selector, old != nil && keepsLabelValues(old.Selector),
		// The kind in the text is what Kubernetes says here.
		selectorRule{empty: "empty selector is invalid for deployment", unusable: &unusable})
	errs = append(errs, selectorErrs...)
	if selector == nil {
		return errs
	}
	errs = append(errs, validateTemplateLabels(&s.Template, selector)...)
	if old == nil {
		errs = append(errs, validateTemplate(&s.Template, nil)...)
	} else {
		errs = append(errs, validateTemplate(&s.Template, &old.Template)...)
	}
	return append(errs, validateLasting(&s.Template, "ReplicaSet")...)
}

func validateReplicaSetStatus(s *appsv1.ReplicaSetStatus) field.ErrorList {
	errs := validateCounts(
		count{"replicas", int64(s.Replicas)},
		count{"fullyLabeledReplicas", int64(s.FullyLabeledReplicas)},
		count{"readyReplicas", int64(s.ReadyReplicas)},
		count{"availableReplicas", int64(s.AvailableReplicas)},
		optionalCount("terminatingReplicas", s.TerminatingReplicas),
		count{"observedGeneration", s.ObservedGeneration})
	errs = append(errs, validateAtMost(s.Replicas, "status.replicas",
		count{"fullyLabeledReplicas", int64(s.FullyLabeledReplicas)},
		count{"readyReplicas", int64(s.ReadyReplicas)},
		count{"availableReplicas", int64(s.AvailableReplicas)})...)
	return append(errs, validateAtMost(s.ReadyReplicas, "readyReplicas", count{"availableReplicas", int64(s.AvailableReplicas)})...)
}
