package apiextensions

import (
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// validateRules looks at the fields of CEL rules without compiling them.
func validateRules(path *field.Path, rules apiextensionsv1.ValidationRules) field.ErrorList {
	var errs field.ErrorList
	for i := range rules {
		errs = append(errs, validateRule(path.Index(i), &rules[i])...)
	}
	return errs
}

func validateRule(path *field.Path, r *apiextensionsv1.ValidationRule) field.ErrorList {
	var errs field.ErrorList
	if strings.TrimSpace(r.Rule) == "" {
		errs = append(errs, field.Required(path.Child("rule"), "rule is not specified"))
	}
	errs = append(errs, validateMessage(path.Child("message"), r)...)
	if r.MessageExpression != "" && strings.TrimSpace(r.MessageExpression) == "" {
		errs = append(errs, field.Required(path.Child("messageExpression"), "messageExpression must be non-empty if specified"))
	}
	if r.Reason != nil {
		errs = append(errs, check.OneOf(path.Child("reason"), *r.Reason, apiextensionsv1.FieldValueDuplicate,
			apiextensionsv1.FieldValueForbidden, apiextensionsv1.FieldValueInvalid, apiextensionsv1.FieldValueRequired)...)
	}
	switch fieldPath := strings.TrimSpace(r.FieldPath); {
	case r.FieldPath != "" && fieldPath == "":
		errs = append(errs, field.Invalid(path.Child("fieldPath"), r.FieldPath, "fieldPath must be non-empty if specified"))
	case strings.Contains(fieldPath, "\n"):
		errs = append(errs, field.Invalid(path.Child("fieldPath"), r.FieldPath, "fieldPath must not contain line breaks"))
	}
	return errs
}

func validateMessage(path *field.Path, r *apiextensionsv1.ValidationRule) field.ErrorList {
	message := strings.TrimSpace(r.Message)
	switch {
	case r.Message != "" && message == "":
		return field.ErrorList{field.Invalid(path, r.Message, "message must be non-empty if specified")}
	case strings.Contains(message, "\n"):
		return field.ErrorList{field.Invalid(path, r.Message, "message must not contain line breaks")}
	case strings.Contains(strings.TrimSpace(r.Rule), "\n") && message == "":
		return field.ErrorList{field.Required(path, "message must be specified if rule contains line breaks")}
	}
	return nil
}
