package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

func deploymentHooks() scheme.Hooks[appsv1.Deployment] {
	return scheme.Hooks[appsv1.Deployment]{
		Default: defaultDeployment,
		PrepareCreate: func(_ scheme.Context, d *appsv1.Deployment) {
			d.Status = appsv1.DeploymentStatus{}
			core.PreparePodTemplate(&d.Spec.Template, nil)
		},
		ValidateCreate: func(d *appsv1.Deployment) field.ErrorList { return validateDeploymentSpec(&d.Spec, nil) },
		WarnCreate: func(d *appsv1.Deployment) []string {
			return append(warnName(d.Name), core.WarnPodTemplate(templatePath, &d.Spec.Template, nil)...)
		},
		PrepareUpdate: func(_ scheme.Context, d, old *appsv1.Deployment) {
			d.Status = old.Status
			core.PreparePodTemplate(&d.Spec.Template, &old.Spec.Template)
		},
		ValidateUpdate: validateDeploymentUpdate,
		WarnUpdate: func(d, old *appsv1.Deployment) []string {
			if d.Generation == old.Generation {
				return nil
			}
			return core.WarnPodTemplate(templatePath, &d.Spec.Template, &old.Spec.Template)
		},
		ResetFields: []string{"status"},
		// A rollout's revision is an annotation: its controller has to see
		// the object again when one changes.
		SpecChanged: func(d, old *appsv1.Deployment) bool {
			return !apiequality.Semantic.DeepEqual(&d.Spec, &old.Spec) || !apiequality.Semantic.DeepEqual(d.Annotations, old.Annotations)
		},
		UpdateOnly: true,
	}
}

func deploymentStatusHooks() scheme.UpdateHooks[appsv1.Deployment] {
	return scheme.UpdateHooks[appsv1.Deployment]{
		// Annotations pass: the controller writes the revision with the status.
		PrepareUpdate: func(_ scheme.Context, d, old *appsv1.Deployment) {
			d.Spec = old.Spec
			d.Labels = old.Labels
		},
		ValidateUpdate: validateDeploymentStatus,
		ResetFields:    []string{"spec", "metadata.labels"},
	}
}

func deploymentScale() *scheme.Scale {
	return scheme.NewScale(
		func(d *appsv1.Deployment) (autoscalingv1.ScaleSpec, autoscalingv1.ScaleStatus) {
			return scaleOf(d.Spec.Replicas, d.Status.Replicas, d.Spec.Selector)
		},
		func(d *appsv1.Deployment, n int32) { d.Spec.Replicas = &n })
}

func scaleOf(replicas *int32, current int32, s *metav1.LabelSelector) (spec autoscalingv1.ScaleSpec, status autoscalingv1.ScaleStatus) {
	if replicas != nil {
		spec.Replicas = *replicas
	}
	status.Replicas = current
	if selector, err := metav1.LabelSelectorAsSelector(s); err == nil {
		status.Selector = selector.String()
	}
	return spec, status
}

func validateDeploymentSpec(s, old *appsv1.DeploymentSpec) field.ErrorList {
	var errs field.ErrorList
	if s.Replicas != nil {
		errs = append(errs, nonnegative(int64(*s.Replicas), specPath.Child("replicas"))...)
	}
	unusable := "invalid label selector"
	selector, selectorErrs := validateSelector(s.Selector, old != nil && keepsLabelValues(old.Selector),
		selectorRule{empty: "empty selector is invalid for deployment", unusable: &unusable})
	errs = append(errs, selectorErrs...)
	if selector != nil {
		errs = append(errs, validateTemplateLabels(&s.Template, selector)...)
		if old == nil {
			errs = append(errs, validateTemplate(&s.Template, nil)...)
		} else {
			errs = append(errs, validateTemplate(&s.Template, &old.Template)...)
		}
		errs = append(errs, validateLasting(&s.Template, "ReplicaSet")...)
	}
	errs = append(errs, validateDeploymentStrategy(&s.Strategy, specPath.Child("strategy"))...)
	errs = append(errs, nonnegative(int64(s.MinReadySeconds), specPath.Child("minReadySeconds"))...)
	if s.RevisionHistoryLimit != nil {
		errs = append(errs, nonnegative(int64(*s.RevisionHistoryLimit), specPath.Child("revisionHistoryLimit"))...)
	}
	if s.ProgressDeadlineSeconds != nil {
		path := specPath.Child("progressDeadlineSeconds")
		errs = append(errs, nonnegative(int64(*s.ProgressDeadlineSeconds), path)...)
		if *s.ProgressDeadlineSeconds <= s.MinReadySeconds {
			errs = append(errs, field.Invalid(path, *s.ProgressDeadlineSeconds, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

func validateDeploymentStrategy(s *appsv1.DeploymentStrategy, path *field.Path) field.ErrorList {
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			return nil
		}
		return field.ErrorList{field.Forbidden(path.Child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'")}
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil || s.RollingUpdate.MaxSurge == nil || s.RollingUpdate.MaxUnavailable == nil {
			return field.ErrorList{field.Required(path.Child("rollingUpdate"), "this should be defaulted and never be nil")}
		}
		return validateRollingDeployment(s.RollingUpdate, path.Child("rollingUpdate"))
	}
	return field.ErrorList{field.NotSupported(path, internalform.Of(s),
		[]appsv1.DeploymentStrategyType{appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType})}
}

func validateRollingDeployment(r *appsv1.RollingUpdateDeployment, path *field.Path) field.ErrorList {
	unavailable := path.Child("maxUnavailable")
	errs := validateCountOrPercent(r.MaxUnavailable, unavailable)
	errs = append(errs, validateCountOrPercent(r.MaxSurge, path.Child("maxSurge"))...)
	if isZero(r.MaxUnavailable) && isZero(r.MaxSurge) {
		errs = append(errs, field.Invalid(unavailable, r.MaxUnavailable, "may not be 0 when `maxSurge` is 0"))
	}
	return append(errs, validateAtMostAll(r.MaxUnavailable, unavailable)...)
}

func validateDeploymentUpdate(d, old *appsv1.Deployment) field.ErrorList {
	errs := validateDeploymentSpec(&d.Spec, &old.Spec)
	return append(errs, apivalidation.ValidateImmutableField(d.Spec.Selector, old.Spec.Selector, selectorPath)...)
}

func validateDeploymentStatus(d, old *appsv1.Deployment) field.ErrorList {
	s := &d.Status
	errs := validateCounts(
		count{"observedGeneration", s.ObservedGeneration},
		count{"replicas", int64(s.Replicas)},
		count{"updatedReplicas", int64(s.UpdatedReplicas)},
		count{"readyReplicas", int64(s.ReadyReplicas)},
		count{"availableReplicas", int64(s.AvailableReplicas)},
		count{"unavailableReplicas", int64(s.UnavailableReplicas)},
		optionalCount("terminatingReplicas", s.TerminatingReplicas),
		optionalCount("collisionCount", s.CollisionCount))
	errs = append(errs, validateAtMost(s.Replicas, "status.replicas",
		count{"updatedReplicas", int64(s.UpdatedReplicas)},
		count{"readyReplicas", int64(s.ReadyReplicas)},
		count{"availableReplicas", int64(s.AvailableReplicas)})...)
	errs = append(errs, validateAtMost(s.ReadyReplicas, "readyReplicas", count{"availableReplicas", int64(s.AvailableReplicas)})...)
	return append(errs, validateCollisions(s.CollisionCount, old.Status.CollisionCount)...)
}
