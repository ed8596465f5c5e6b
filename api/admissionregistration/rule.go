package admissionregistration

import (
	"fmt"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

const star = "*"

func validateRuleWithOperations(r *admissionregistrationv1.RuleWithOperations, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("operations")
	if len(r.Operations) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	if len(r.Operations) > 1 && slices.Contains(r.Operations, admissionregistrationv1.OperationAll) {
		errs = append(errs, field.Invalid(at, r.Operations, "if '*' is present, must not specify other operations"))
	}
	for i, o := range r.Operations {
		errs = append(errs, check.OneOf(at.Index(i), o, admissionregistrationv1.OperationAll, admissionregistrationv1.Connect,
			admissionregistrationv1.Create, admissionregistrationv1.Delete, admissionregistrationv1.Update)...)
	}
	return append(errs, validateRule(&r.Rule, path)...)
}

func validateRule(r *admissionregistrationv1.Rule, path *field.Path) field.ErrorList {
	errs := validateNames(r.APIGroups, "API groups", true, path.Child("apiGroups"))
	errs = append(errs, validateNames(r.APIVersions, "API versions", false, path.Child("apiVersions"))...)
	errs = append(errs, validateResources(r.Resources, path.Child("resources"))...)
	if r.Scope != nil {
		errs = append(errs, check.OneOf(path.Child("scope"), *r.Scope, admissionregistrationv1.AllScopes,
			admissionregistrationv1.ClusterScope, admissionregistrationv1.NamespacedScope)...)
	}
	return errs
}

func validateNames(names []string, what string, emptyIsOne bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(names) == 0 {
		errs = append(errs, field.Required(path, ""))
	}
	if len(names) > 1 && slices.Contains(names, star) {
		errs = append(errs, field.Invalid(path, names, "if '*' is present, must not specify other "+what))
	}
	for i, n := range names {
		if n == "" && !emptyIsOne {
			errs = append(errs, field.Required(path.Index(i), ""))
		}
	}
	return errs
}

// validateResources refuses patterns that an earlier one contains.
func validateResources(resources []string, path *field.Path) field.ErrorList {
	if len(resources) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	wholeResources, wholeSubresources := map[string]bool{}, map[string]bool{}
	// alone is about the last pattern without a slash only, as in Kubernetes.
	alone := false
	for i, pattern := range resources {
		if pattern == "" {
			errs = append(errs, field.Required(path.Index(i), ""))
			continue
		}
		resource, sub, ok := strings.Cut(pattern, "/")
		if !ok {
			alone = pattern != star
			continue
		}
		if wholeResources[resource] {
			errs = append(errs, field.Invalid(path.Index(i), pattern, fmt.Sprintf("if '%s/*' is present, must not specify %s", resource, pattern)))
		}
		if wholeSubresources[sub] {
			errs = append(errs, field.Invalid(path.Index(i), pattern, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, pattern)))
		}
		if sub == star {
			wholeResources[resource] = true
		}
		if resource == star {
			wholeSubresources[sub] = true
		}
	}
	if len(resources) > 1 && slices.Contains(resources, "*/*") {
		errs = append(errs, field.Invalid(path, resources, "if '*/*' is present, must not specify other resources"))
	}
	if alone && slices.Contains(resources, star) {
		errs = append(errs, field.Invalid(path, resources, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}
