package admissionregistration

import (
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

var validatingBindingHooks = scheme.Hooks[admissionregistrationv1.ValidatingAdmissionPolicyBinding]{
	Default: func(b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
		defaultMatchResources(b.Spec.MatchResources)
	},
	ValidateCreate: func(b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) field.ErrorList {
		return validateValidatingBinding(&b.Spec, tolerated{})
	},
	ValidateUpdate: func(b, old *admissionregistrationv1.ValidatingAdmissionPolicyBinding) field.ErrorList {
		return validateValidatingBinding(&b.Spec, toleratedOfBinding(old.Spec.ParamRef, old.Spec.MatchResources))
	},
	SpecChanged: func(b, old *admissionregistrationv1.ValidatingAdmissionPolicyBinding) bool {
		return !apiequality.Semantic.DeepEqual(&b.Spec, &old.Spec)
	},
}

var mutatingBindingHooks = scheme.Hooks[admissionregistrationv1.MutatingAdmissionPolicyBinding]{
	Default: func(b *admissionregistrationv1.MutatingAdmissionPolicyBinding) {
		defaultMatchResources(b.Spec.MatchResources)
	},
	ValidateCreate: func(b *admissionregistrationv1.MutatingAdmissionPolicyBinding) field.ErrorList {
		return validateBinding(b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources, tolerated{})
	},
	ValidateUpdate: func(b, old *admissionregistrationv1.MutatingAdmissionPolicyBinding) field.ErrorList {
		return validateBinding(b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources, toleratedOfBinding(old.Spec.ParamRef, old.Spec.MatchResources))
	},
	SpecChanged: func(b, old *admissionregistrationv1.MutatingAdmissionPolicyBinding) bool {
		return !apiequality.Semantic.DeepEqual(&b.Spec, &old.Spec)
	},
}

func toleratedOfBinding(ref *admissionregistrationv1.ParamRef, m *admissionregistrationv1.MatchResources) tolerated {
	var t tolerated
	if ref != nil {
		t.labelValues = badLabelValues(ref.Selector)
	}
	if m != nil {
		t.labelValues = t.labelValues || badLabelValues(m.NamespaceSelector, m.ObjectSelector)
	}
	return t
}

func validateBinding(policyName string, ref *admissionregistrationv1.ParamRef, m *admissionregistrationv1.MatchResources, t tolerated) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if policyName == "" {
		errs = append(errs, field.Required(path.Child("policyName"), ""))
	} else {
		errs = append(errs, check.Subdomain(path.Child("policyName"), policyName)...)
	}
	if ref != nil {
		errs = append(errs, validateParamRef(ref, t, path.Child("paramRef"))...)
	}
	if m != nil {
		errs = append(errs, validateMatchResources(m, t, path.Child("matchResources"))...)
	}
	return errs
}

func validateParamRef(r *admissionregistrationv1.ParamRef, t tolerated, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r.Name != "" {
		errs = append(errs, check.PathSegment(path.Child("name"), r.Name)...)
		if r.Selector != nil {
			errs = append(errs, field.Forbidden(path.Child("name"), "name and selector are mutually exclusive"))
		}
	}
	if r.Selector != nil {
		errs = append(errs, metavalidation.ValidateLabelSelector(r.Selector, t.selectors(), path.Child("selector"))...)
		if r.Name != "" {
			errs = append(errs, field.Forbidden(path.Child("selector"), "name and selector are mutually exclusive"))
		}
	}
	if r.Name == "" && r.Selector == nil {
		errs = append(errs, field.Required(path, "one of name or selector must be specified"))
	}
	at := path.Child("parameterNotFoundAction")
	if r.ParameterNotFoundAction == nil || *r.ParameterNotFoundAction == "" {
		return append(errs, field.Required(at, ""))
	}
	return append(errs, check.OneOf(at, *r.ParameterNotFoundAction, admissionregistrationv1.DenyAction, admissionregistrationv1.AllowAction)...)
}

func validateValidatingBinding(s *admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec, t tolerated) field.ErrorList {
	errs := validateBinding(s.PolicyName, s.ParamRef, s.MatchResources, t)
	path := field.NewPath("spec", "validationActions")
	if len(s.ValidationActions) == 0 {
		return append(errs, field.Required(path, "at least one validation action is required"))
	}
	for i, a := range s.ValidationActions {
		errs = append(errs, check.OneOf(path.Index(i), a, admissionregistrationv1.Audit, admissionregistrationv1.Deny, admissionregistrationv1.Warn)...)
		if slices.Contains(s.ValidationActions[:i], a) {
			errs = append(errs, field.Duplicate(path.Index(i), a))
		}
	}
	if slices.Contains(s.ValidationActions, admissionregistrationv1.Deny) && slices.Contains(s.ValidationActions, admissionregistrationv1.Warn) {
		errs = append(errs, field.Invalid(path, s.ValidationActions, "must not contain both Deny and Warn "+
			"(repeating the same validation failure information in the API response and headers serves no purpose)"))
	}
	return errs
}
