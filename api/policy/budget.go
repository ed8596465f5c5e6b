package policy

import (
	"slices"
	"strconv"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

type budget = policyv1.PodDisruptionBudget

var (
	specPath   = field.NewPath("spec")
	statusPath = field.NewPath("status")

	evictionPolicies = []policyv1.UnhealthyPodEvictionPolicyType{policyv1.AlwaysAllow, policyv1.IfHealthyBudget}
)

func hooks() scheme.Hooks[budget] {
	return scheme.Hooks[budget]{
		PrepareCreate:  func(_ scheme.Context, b *budget) { b.Status = policyv1.PodDisruptionBudgetStatus{} },
		ValidateCreate: func(b *budget) field.ErrorList { return validateSpec(&b.Spec, nil) },
		// Any name that fits in a URL has always been taken.
		ValidateName:   path.ValidatePathSegmentName,
		PrepareUpdate:  func(_ scheme.Context, b, old *budget) { b.Status = old.Status },
		ValidateUpdate: func(b, old *budget) field.ErrorList { return validateSpec(&b.Spec, &old.Spec) },
		ResetFields:    []string{"status"},
		SpecChanged:    func(b, old *budget) bool { return !apiequality.Semantic.DeepEqual(&b.Spec, &old.Spec) },
		// The disruptions allowed are counted down by updates.
		RequireVersion: true,
	}
}

func statusHooks() scheme.UpdateHooks[budget] {
	return scheme.UpdateHooks[budget]{
		PrepareUpdate:  func(_ scheme.Context, b, old *budget) { b.Spec = old.Spec },
		ValidateUpdate: func(b, _ *budget) field.ErrorList { return validateStatus(&b.Status) },
		ResetFields:    []string{"spec"},
	}
}

func validateSpec(s, old *policyv1.PodDisruptionBudgetSpec) field.ErrorList {
	var errs field.ErrorList
	if s.MinAvailable != nil && s.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(specPath, internalform.Of(s), "minAvailable and maxUnavailable cannot be both set"))
	}
	errs = append(errs, validateShare(s.MinAvailable, specPath.Child("minAvailable"))...)
	errs = append(errs, validateShare(s.MaxUnavailable, specPath.Child("maxUnavailable"))...)
	if s.Selector != nil {
		o := metav1validation.LabelSelectorValidationOptions{
			AllowInvalidLabelValueInSelector: old != nil && old.Selector != nil && metav1validation.LabelSelectorHasInvalidLabelValue(old.Selector),
		}
		errs = append(errs, metav1validation.ValidateLabelSelector(s.Selector, o, specPath.Child("selector"))...)
	}
	if p := s.UnhealthyPodEvictionPolicy; p != nil && !slices.Contains(evictionPolicies, *p) {
		errs = append(errs, field.NotSupported(specPath.Child("unhealthyPodEvictionPolicy"), *p, evictionPolicies))
	}
	return errs
}

// validateShare checks a number of pods given as such or in percent of all.
func validateShare(v *intstr.IntOrString, p *field.Path) field.ErrorList {
	if v == nil {
		return nil
	}
	if v.Type == intstr.Int {
		if v.IntVal >= 0 {
			return nil
		}
		return apivalidation.ValidateNonnegativeField(int64(v.IntVal), p)
	}
	var errs field.ErrorList
	for _, msg := range validation.IsValidPercent(v.StrVal) {
		errs = append(errs, field.Invalid(p, v, msg))
	}
	if len(errs) > 0 {
		return errs
	}
	if percent, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%")); err != nil || percent > 100 {
		errs = append(errs, field.Invalid(p, v, "must not be greater than 100%"))
	}
	return errs
}

func validateStatus(s *policyv1.PodDisruptionBudgetStatus) field.ErrorList {
	errs := metav1validation.ValidateConditions(s.Conditions, statusPath.Child("conditions"))
	for _, c := range [...]struct {
		name  string
		value int32
	}{
		{"disruptionsAllowed", s.DisruptionsAllowed},
		{"currentHealthy", s.CurrentHealthy},
		{"desiredHealthy", s.DesiredHealthy},
		{"expectedPods", s.ExpectedPods},
	} {
		if c.value < 0 {
			errs = append(errs, apivalidation.ValidateNonnegativeField(int64(c.value), statusPath.Child(c.name))...)
		}
	}
	return errs
}

func columns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("Min Available", "The minimum number of pods that must be available."),
		table.String("Max Unavailable", "The maximum number of pods that may be unavailable."),
		table.Typed("Allowed Disruptions", "integer", "Calculated number of pods that may be disrupted at this time."),
		table.Age(),
	}
}

func row(b *budget, now metav1.Time) []any {
	return []any{b.Name, share(b.Spec.MinAvailable), share(b.Spec.MaxUnavailable), int64(b.Status.DisruptionsAllowed), table.Since(b.CreationTimestamp, now)}
}

func share(v *intstr.IntOrString) string {
	if v == nil {
		return "N/A"
	}
	return v.String()
}
