package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
)

var roleHooks = scheme.Hooks[rbacv1.Role]{
	ValidateName:   validateName,
	ValidateCreate: func(r *rbacv1.Role) field.ErrorList { return validateRules(r.Rules, true) },
	ValidateUpdate: func(r, _ *rbacv1.Role) field.ErrorList { return validateRules(r.Rules, true) },
	CreateOnUpdate: true,
}

var clusterRoleHooks = scheme.Hooks[rbacv1.ClusterRole]{
	ValidateName: validateName,
	ValidateCreate: func(r *rbacv1.ClusterRole) field.ErrorList {
		return append(validateRules(r.Rules, false), validateAggregation(r.AggregationRule, metavalidation.LabelSelectorValidationOptions{})...)
	},
	ValidateUpdate: func(r, old *rbacv1.ClusterRole) field.ErrorList {
		return append(validateRules(r.Rules, false), validateAggregation(r.AggregationRule, metavalidation.LabelSelectorValidationOptions{
			AllowInvalidLabelValueInSelector: hasInvalidLabelValue(old.AggregationRule)})...)
	},
	CreateOnUpdate: true,
}

func validateRules(rules []rbacv1.PolicyRule, namespaced bool) field.ErrorList {
	var errs field.ErrorList
	for i := range rules {
		if wellFormed(&rules[i]) {
			continue
		}
		errs = append(errs, validateRule(&rules[i], namespaced, field.NewPath("rules").Index(i))...)
	}
	return errs
}

// wellFormed is the usual rule, about resources alone.
func wellFormed(r *rbacv1.PolicyRule) bool {
	return len(r.Verbs) > 0 && len(r.APIGroups) > 0 && len(r.Resources) > 0 && len(r.NonResourceURLs) == 0
}

func validateRule(r *rbacv1.PolicyRule, namespaced bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(r.Verbs) == 0 {
		errs = append(errs, field.Required(path.Child("verbs"), "verbs must contain at least one value"))
	}
	if len(r.NonResourceURLs) > 0 {
		at := path.Child("nonResourceURLs")
		if namespaced {
			errs = append(errs, field.Invalid(at, r.NonResourceURLs, "namespaced rules cannot apply to non-resource URLs"))
		}
		if len(r.APIGroups) > 0 || len(r.Resources) > 0 || len(r.ResourceNames) > 0 {
			errs = append(errs, field.Invalid(at, r.NonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs"))
		}
		return errs
	}
	if len(r.APIGroups) == 0 {
		errs = append(errs, field.Required(path.Child("apiGroups"), "resource rules must supply at least one api group"))
	}
	if len(r.Resources) == 0 {
		errs = append(errs, field.Required(path.Child("resources"), "resource rules must supply at least one resource"))
	}
	return errs
}

func validateAggregation(a *rbacv1.AggregationRule, o metavalidation.LabelSelectorValidationOptions) field.ErrorList {
	if a == nil {
		return nil
	}
	path := field.NewPath("aggregationRule", "clusterRoleSelectors")
	if len(a.ClusterRoleSelectors) == 0 {
		return field.ErrorList{field.Required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")}
	}
	var errs field.ErrorList
	for i := range a.ClusterRoleSelectors {
		s, at := &a.ClusterRoleSelectors[i], path.Index(i)
		errs = append(errs, metavalidation.ValidateLabelSelector(s, o, at)...)
		if selector, err := metav1.LabelSelectorAsSelector(s); err != nil {
			errs = append(errs, field.Invalid(at, selector, "invalid label selector."))
		}
	}
	return errs
}

func hasInvalidLabelValue(a *rbacv1.AggregationRule) bool {
	if a == nil {
		return false
	}
	for i := range a.ClusterRoleSelectors {
		if metavalidation.LabelSelectorHasInvalidLabelValue(&a.ClusterRoleSelectors[i]) {
			return true
		}
	}
	return false
}
