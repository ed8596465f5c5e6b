package authorization

import (
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

// Reviews are questions, not objects: their metadata is left as sent, without
// uid or creation time, and must be empty.
var (
	reviewHooks = scheme.Hooks[authorizationv1.SubjectAccessReview]{
		OwnMetadata: true,
		ValidateCreate: func(r *authorizationv1.SubjectAccessReview) field.ErrorList {
			errs := validateSpec(&r.Spec, field.NewPath("spec"))
			return append(errs, validateNoMetadata(r.ObjectMeta, "must be empty")...)
		},
	}
	selfHooks = scheme.Hooks[authorizationv1.SelfSubjectAccessReview]{
		OwnMetadata: true,
		ValidateCreate: func(r *authorizationv1.SelfSubjectAccessReview) field.ErrorList {
			path := field.NewPath("spec")
			errs := validateOne(r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes, path)
			errs = append(errs, validateAttributes(r.Spec.ResourceAttributes, path.Child("resourceAttributes"))...)
			return append(errs, validateNoMetadata(r.ObjectMeta, "must be empty")...)
		},
	}
	localHooks = scheme.Hooks[authorizationv1.LocalSubjectAccessReview]{
		OwnMetadata:    true,
		ValidateCreate: validateLocal,
	}
)

func validateLocal(r *authorizationv1.LocalSubjectAccessReview) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateSpec(&r.Spec, path)
	m := r.ObjectMeta
	m.Namespace = ""
	if len(validateNoMetadata(m, "")) > 0 {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), r.ObjectMeta, "must be empty except for namespace"))
	}
	if a := r.Spec.ResourceAttributes; a != nil && a.Namespace != r.Namespace {
		errs = append(errs, field.Invalid(path.Child("resourceAttributes", "namespace"), a.Namespace, "must match metadata.namespace"))
	}
	if a := r.Spec.NonResourceAttributes; a != nil {
		errs = append(errs, field.Invalid(path.Child("nonResourceAttributes"), internalform.Of(a), "disallowed on this kind of request"))
	}
	return errs
}

func validateNoMetadata(m metav1.ObjectMeta, message string) field.ErrorList {
	bare := m
	bare.ManagedFields = nil
	if apiequality.Semantic.DeepEqual(bare, metav1.ObjectMeta{}) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata"), m, message)}
}

func validateSpec(s *authorizationv1.SubjectAccessReviewSpec, path *field.Path) field.ErrorList {
	errs := validateOne(s.ResourceAttributes, s.NonResourceAttributes, path)
	if s.User == "" && len(s.Groups) == 0 {
		errs = append(errs, field.Invalid(path.Child("user"), s.User, "at least one of user or group must be specified"))
	}
	return append(errs, validateAttributes(s.ResourceAttributes, path.Child("resourceAttributes"))...)
}

func validateOne(r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes, path *field.Path) field.ErrorList {
	switch {
	case r != nil && n != nil:
		return field.ErrorList{field.Invalid(path.Child("nonResourceAttributes"), internalform.Of(n),
			"cannot be specified in combination with resourceAttributes")}
	case r == nil && n == nil:
		return field.ErrorList{field.Invalid(path.Child("resourceAttributes"), nil,
			"exactly one of nonResourceAttributes or resourceAttributes must be specified")}
	}
	return nil
}

func validateAttributes(a *authorizationv1.ResourceAttributes, path *field.Path) field.ErrorList {
	if a == nil {
		return nil
	}
	var errs field.ErrorList
	if s := a.FieldSelector; s != nil {
		at := path.Child("fieldSelector")
		errs = append(errs, validateForms(s.RawSelector, len(s.Requirements), at)...)
		for i, r := range s.Requirements {
			errs = append(errs, metavalidation.ValidateFieldSelectorRequirement(r,
				metavalidation.FieldSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}, at.Child("requirements").Index(i))...)
		}
	}
	if s := a.LabelSelector; s != nil {
		at := path.Child("labelSelector")
		errs = append(errs, validateForms(s.RawSelector, len(s.Requirements), at)...)
		for i, r := range s.Requirements {
			errs = append(errs, metavalidation.ValidateLabelSelectorRequirement(r,
				metavalidation.LabelSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}, at.Child("requirements").Index(i))...)
		}
	}
	return errs
}

// validateForms wants a selector as text or as requirements.
func validateForms(raw string, requirements int, path *field.Path) field.ErrorList {
	switch {
	case raw != "" && requirements > 0:
		return field.ErrorList{field.Invalid(path.Child("rawSelector"), raw, "may not specified at the same time as requirements")}
	case raw == "" && requirements == 0:
		return field.ErrorList{field.Required(path.Child("requirements"), fmt.Sprintf("when %s is specified, requirements or rawSelector is required", path))}
	}
	return nil
}
