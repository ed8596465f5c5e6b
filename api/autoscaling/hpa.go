package autoscaling

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
)

var (
	specPath   = field.NewPath("spec")
	statusPath = field.NewPath("status")
)

func hooks() scheme.Hooks[autoscaler] {
	return scheme.Hooks[autoscaler]{
		Default: setDefaults,
		PrepareCreate: func(_ scheme.Context, h *autoscaler) {
			h.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
			h.Annotations = withoutV1Annotations(h.Annotations)
		},
		ValidateCreate: func(h *autoscaler) field.ErrorList { return validateSpec(&h.Spec, nil) },
		PrepareUpdate: func(_ scheme.Context, h, old *autoscaler) {
			h.Status = old.Status
			h.Annotations = withoutV1Annotations(h.Annotations)
		},
		ValidateUpdate: func(h, old *autoscaler) field.ErrorList { return validateSpec(&h.Spec, &old.Spec) },
		SpecChanged:    func(h, old *autoscaler) bool { return !apiequality.Semantic.DeepEqual(&h.Spec, &old.Spec) },
		ResetFields:    []string{"status"},
		UpdateOnly:     true,
	}
}

func statusHooks() scheme.UpdateHooks[autoscaler] {
	return scheme.UpdateHooks[autoscaler]{
		PrepareUpdate: func(_ scheme.Context, h, old *autoscaler) {
			h.Spec = old.Spec
			h.Annotations = withoutV1Annotations(h.Annotations)
		},
		ValidateUpdate: func(h, _ *autoscaler) field.ErrorList {
			errs := nonnegative(h.Status.CurrentReplicas, statusPath.Child("currentReplicas"))
			return append(errs, nonnegative(h.Status.DesiredReplicas, statusPath.Child("desiredReplicas"))...)
		},
		ResetFields: []string{"spec"},
	}
}

func nonnegative(n int32, p *field.Path) field.ErrorList {
	if n >= 0 {
		return nil
	}
	return apivalidation.ValidateNonnegativeField(int64(n), p)
}

func validateSpec(s, old *autoscalingv2.HorizontalPodAutoscalerSpec) field.ErrorList {
	errs := validateReplicas(s)
	ref := specPath.Child("scaleTargetRef")
	errs = append(errs, validateReference(&s.ScaleTargetRef, ref)...)
	// Old versions took targets without a group; those may stay.
	if old == nil || len(validateGroup(&old.ScaleTargetRef, ref)) == 0 {
		errs = append(errs, validateGroup(&s.ScaleTargetRef, ref)...)
	}
	errs = append(errs, validateMetrics(s)...)
	if s.Behavior == nil {
		return errs
	}
	behavior := specPath.Child("behavior")
	errs = append(errs, validateRules(s.Behavior.ScaleUp, behavior.Child("scaleUp"))...)
	return append(errs, validateRules(s.Behavior.ScaleDown, behavior.Child("scaleDown"))...)
}

// validateReplicas allows a minimum of 0, as HPAScaleToZero is on by default
// from Kubernetes 1.37.
func validateReplicas(s *autoscalingv2.HorizontalPodAutoscalerSpec) field.ErrorList {
	var errs field.ErrorList
	if s.MinReplicas != nil {
		errs = append(errs, nonnegative(*s.MinReplicas, specPath.Child("minReplicas"))...)
	}
	limit := specPath.Child("maxReplicas")
	switch {
	case s.MaxReplicas == 0:
		errs = append(errs, field.Required(limit, "must be set and greater than 0"))
	case s.MaxReplicas < 0:
		errs = append(errs, field.Invalid(limit, s.MaxReplicas, "must be greater than or equal to 1"))
	}
	if s.MinReplicas != nil && s.MaxReplicas < *s.MinReplicas {
		errs = append(errs, field.Invalid(limit, s.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	return errs
}

func validateReference(r *autoscalingv2.CrossVersionObjectReference, p *field.Path) field.ErrorList {
	errs := validateSegment(r.Kind, "", p.Child("kind"))
	return append(errs, validateSegment(r.Name, "", p.Child("name"))...)
}

// validateSegment requires a text that can stand in a URL path.
func validateSegment(s, missing string, p *field.Path) field.ErrorList {
	if s == "" {
		return field.ErrorList{field.Required(p, missing)}
	}
	var errs field.ErrorList
	for _, msg := range path.IsValidPathSegmentName(s) {
		errs = append(errs, field.Invalid(p, s, msg))
	}
	return errs
}

// validateGroup requires the group of what is to be scaled: only replication
// controllers have none.
func validateGroup(r *autoscalingv2.CrossVersionObjectReference, p *field.Path) field.ErrorList {
	p = p.Child("apiVersion")
	gv, err := schema.ParseGroupVersion(r.APIVersion)
	if err != nil {
		return field.ErrorList{field.Invalid(p, r.APIVersion, err.Error())}
	}
	if gv.Group == "" && r.Kind != "ReplicationController" {
		return field.ErrorList{field.Invalid(p, r.APIVersion, "apiVersion must specify API group")}
	}
	return nil
}

// Limits of the rules of scaling, in seconds.
const (
	maxWindow = 3600
	maxPeriod = 1800
)

func validateRules(r *autoscalingv2.HPAScalingRules, p *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	if w := r.StabilizationWindowSeconds; w != nil {
		switch p := p.Child("stabilizationWindowSeconds"); {
		case *w < 0:
			errs = append(errs, field.Invalid(p, *w, "must be greater than or equal to zero"))
		case *w > maxWindow:
			errs = append(errs, field.Invalid(p, *w, "must be less than or equal to 3600"))
		}
	}
	if r.SelectPolicy != nil {
		switch *r.SelectPolicy {
		case autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect, autoscalingv2.DisabledPolicySelect:
		default:
			errs = append(errs, field.NotSupported(p.Child("selectPolicy"), *r.SelectPolicy, []autoscalingv2.ScalingPolicySelect{
				autoscalingv2.DisabledPolicySelect, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect}))
		}
	}
	policies := p.Child("policies")
	if len(r.Policies) == 0 {
		errs = append(errs, field.Required(policies, "must specify at least one Policy"))
	}
	for i := range r.Policies {
		errs = append(errs, validatePolicy(&r.Policies[i], policies.Index(i))...)
	}
	if r.Tolerance != nil && r.Tolerance.Sign() < 0 {
		errs = append(errs, field.Invalid(p.Child("tolerance"), r.Tolerance.String(), "must be greater than or equal to 0"))
	}
	return errs
}

func validatePolicy(r *autoscalingv2.HPAScalingPolicy, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch r.Type {
	case autoscalingv2.PodsScalingPolicy, autoscalingv2.PercentScalingPolicy:
	default:
		errs = append(errs, field.NotSupported(p.Child("type"), r.Type,
			[]autoscalingv2.HPAScalingPolicyType{autoscalingv2.PercentScalingPolicy, autoscalingv2.PodsScalingPolicy}))
	}
	if r.Value <= 0 {
		errs = append(errs, field.Invalid(p.Child("value"), r.Value, "must be greater than zero"))
	}
	switch period := p.Child("periodSeconds"); {
	case r.PeriodSeconds <= 0:
		errs = append(errs, field.Invalid(period, r.PeriodSeconds, "must be greater than zero"))
	case r.PeriodSeconds > maxPeriod:
		errs = append(errs, field.Invalid(period, r.PeriodSeconds, "must be less than or equal to 1800"))
	}
	return errs
}
