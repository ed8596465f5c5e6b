package admissionregistration

import (
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// tolerated is what an update may keep though a create may not have it.
type tolerated struct {
	labelValues bool
	// conditions is true when the match conditions are those in storage.
	conditions bool
	// expressions are those in storage.
	expressions map[string]bool
	// sideEffects and the rest concern webhooks made through v1beta1.
	sideEffects bool
	versions    bool
	names       bool
}

func (t tolerated) selectors() metavalidation.LabelSelectorValidationOptions {
	return metavalidation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: t.labelValues}
}

func badLabelValues(selectors ...*metav1.LabelSelector) bool {
	for _, s := range selectors {
		if s != nil && metavalidation.LabelSelectorHasInvalidLabelValue(s) {
			return true
		}
	}
	return false
}

func validateMatchResources(m *admissionregistrationv1.MatchResources, t tolerated, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.MatchPolicy == nil {
		errs = append(errs, field.Required(path.Child("matchPolicy"), ""))
	} else {
		errs = append(errs, check.OneOf(path.Child("matchPolicy"), *m.MatchPolicy, admissionregistrationv1.Equivalent, admissionregistrationv1.Exact)...)
	}
	for _, s := range []struct {
		name     string
		selector *metav1.LabelSelector
	}{{"namespaceSelector", m.NamespaceSelector}, {"objectSelector", m.ObjectSelector}} {
		if s.selector == nil {
			errs = append(errs, field.Required(path.Child(s.name), ""))
		} else {
			errs = append(errs, metavalidation.ValidateLabelSelector(s.selector, t.selectors(), path.Child(s.name))...)
		}
	}
	for i := range m.ResourceRules {
		errs = append(errs, validateNamedRule(&m.ResourceRules[i], path.Child("resourceRules").Index(i))...)
	}
	for i := range m.ExcludeResourceRules {
		errs = append(errs, validateNamedRule(&m.ExcludeResourceRules[i], path.Child("excludeResourceRules").Index(i))...)
	}
	return errs
}

func validateNamedRule(r *admissionregistrationv1.NamedRuleWithOperations, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("resourceNames")
	for i, name := range r.ResourceNames {
		errs = append(errs, check.PathSegment(at.Index(i), name)...)
		if slices.Contains(r.ResourceNames[:i], name) {
			errs = append(errs, field.Duplicate(at.Index(i), name))
		}
	}
	return append(errs, validateRuleWithOperations(&r.RuleWithOperations, path)...)
}
