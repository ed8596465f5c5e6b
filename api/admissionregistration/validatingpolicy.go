package admissionregistration

import (
	"fmt"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

const (
	maxAuditAnnotations = 20
	// maxAuditExpression is in bytes.
	maxAuditExpression = 5 * 1024
)

func (v validator) validatingPolicyHooks() scheme.Hooks[admissionregistrationv1.ValidatingAdmissionPolicy] {
	type object = admissionregistrationv1.ValidatingAdmissionPolicy
	return scheme.Hooks[object]{
		Default: defaultValidatingPolicy,
		PrepareCreate: func(_ scheme.Context, p *object) {
			p.Status = admissionregistrationv1.ValidatingAdmissionPolicyStatus{}
		},
		PrepareUpdate:  func(_ scheme.Context, p, old *object) { p.Status = old.Status },
		ValidateCreate: func(p *object) field.ErrorList { return v.validateValidatingPolicy(p, tolerated{}) },
		ValidateUpdate: func(p, old *object) field.ErrorList {
			return v.validateValidatingPolicy(p, toleratedOfValidating(&p.Spec, &old.Spec))
		},
		SpecChanged: func(p, old *object) bool { return !apiequality.Semantic.DeepEqual(&p.Spec, &old.Spec) },
		ResetFields: []string{"status"},
	}
}

var validatingPolicyStatusHooks = scheme.UpdateHooks[admissionregistrationv1.ValidatingAdmissionPolicy]{
	PrepareUpdate: func(_ scheme.Context, p, old *admissionregistrationv1.ValidatingAdmissionPolicy) { p.Spec = old.Spec },
	ValidateUpdate: func(p, _ *admissionregistrationv1.ValidatingAdmissionPolicy) field.ErrorList {
		return validateValidatingPolicyStatus(&p.Status, field.NewPath("status"))
	},
	ResetFields: []string{"spec"},
}

func toleratedOfValidating(spec, old *admissionregistrationv1.ValidatingAdmissionPolicySpec) tolerated {
	t := tolerated{
		expressions: map[string]bool{},
		conditions:  apiequality.Semantic.DeepEqual(spec.ParamKind, old.ParamKind) && apiequality.Semantic.DeepEqual(spec.MatchConditions, old.MatchConditions),
	}
	if m := old.MatchConstraints; m != nil {
		t.labelValues = badLabelValues(m.NamespaceSelector, m.ObjectSelector)
	}
	for _, c := range old.MatchConditions {
		t.expressions[c.Expression] = true
	}
	for _, c := range old.Validations {
		t.expressions[c.Expression], t.expressions[c.MessageExpression] = true, true
	}
	for _, c := range old.AuditAnnotations {
		t.expressions[c.ValueExpression] = true
	}
	for _, c := range old.Variables {
		t.expressions[c.Expression] = true
	}
	return t
}

func (v validator) validateValidatingPolicy(p *admissionregistrationv1.ValidatingAdmissionPolicy, t tolerated) field.ErrorList {
	path, s := field.NewPath("spec"), &p.Spec
	errs := v.validatePolicy(policy{s.FailurePolicy, s.ParamKind, s.MatchConstraints, s.MatchConditions, s.Variables}, t, path)
	if len(s.Validations) == 0 && len(s.AuditAnnotations) == 0 {
		const need = "validations or auditAnnotations must contain at least one item"
		return append(errs, field.Required(path.Child("validations"), need), field.Required(path.Child("auditAnnotations"), need))
	}
	for i := range s.Validations {
		errs = append(errs, v.validateValidation(&s.Validations[i], s, t, path.Child("validations").Index(i))...)
	}
	at := path.Child("auditAnnotations")
	if len(s.AuditAnnotations) > maxAuditAnnotations {
		errs = append(errs, field.Invalid(at, internalform.Of(s.AuditAnnotations), fmt.Sprintf("must not have more than %d auditAnnotations", maxAuditAnnotations)))
	}
	keys := map[string]bool{}
	for i := range s.AuditAnnotations {
		a := &s.AuditAnnotations[i]
		errs = append(errs, v.validateAuditAnnotation(p.Name, a, s, t, at.Index(i))...)
		if keys[a.Key] {
			errs = append(errs, field.Duplicate(at.Index(i).Child("key"), a.Key))
		}
		keys[a.Key] = true
	}
	return errs
}

func (v validator) validateValidation(c *admissionregistrationv1.Validation, s *admissionregistrationv1.ValidatingAdmissionPolicySpec, t tolerated, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	e := Expression{Params: s.ParamKind != nil, Variables: s.Variables}
	if strings.TrimSpace(c.Expression) == "" {
		errs = append(errs, field.Required(path.Child("expression"), "expression is not specified"))
	} else {
		e.Text, e.Place, e.Stored = c.Expression, Validation, t.expressions[c.Expression]
		errs = append(errs, v.validateExpression(e, path.Child("expression"))...)
	}
	if c.MessageExpression != "" {
		at := path.Child("messageExpression")
		if strings.TrimSpace(c.MessageExpression) == "" {
			errs = append(errs, field.Invalid(at, c.MessageExpression, "must be non-empty if specified"))
		} else {
			e.Text, e.Place, e.Stored = c.MessageExpression, MessageExpression, t.expressions[c.MessageExpression]
			errs = append(errs, v.validateExpression(e, at)...)
		}
	}
	if c.Message != "" {
		if trimmed := strings.TrimSpace(c.Message); trimmed == "" {
			errs = append(errs, field.Invalid(path.Child("message"), c.Message, "must be non-empty if specified"))
		} else if strings.ContainsAny(trimmed, "\n\r") {
			errs = append(errs, field.Invalid(path.Child("message"), c.Message, "must not contain line breaks"))
		}
	}
	if c.Reason != nil {
		errs = append(errs, check.OneOf(path.Child("reason"), *c.Reason, metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge)...)
	}
	return errs
}

func (v validator) validateAuditAnnotation(name string, a *admissionregistrationv1.AuditAnnotation, s *admissionregistrationv1.ValidatingAdmissionPolicySpec, t tolerated, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		errs = append(errs, field.Invalid(path.Child("key"), a.Key, "requires metadata.name be non-empty"))
	} else {
		errs = append(errs, check.QualifiedName(path.Child("key"), name+"/"+a.Key)...)
	}
	at := path.Child("valueExpression")
	switch {
	case strings.TrimSpace(a.ValueExpression) == "":
		errs = append(errs, field.Required(at, "valueExpression is not specified"))
	case len(a.ValueExpression) > maxAuditExpression:
		errs = append(errs, field.Required(at, fmt.Sprintf("must not exceed %d bytes in length", maxAuditExpression)))
	default:
		e := Expression{Text: a.ValueExpression, Place: AuditAnnotation, Params: s.ParamKind != nil, Variables: s.Variables, Stored: t.expressions[a.ValueExpression]}
		errs = append(errs, v.validateExpression(e, at)...)
	}
	return errs
}

func validateValidatingPolicyStatus(s *admissionregistrationv1.ValidatingAdmissionPolicyStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.TypeChecking != nil {
		for i, w := range s.TypeChecking.ExpressionWarnings {
			at := path.Child("typeChecking", "expressionWarnings").Index(i)
			errs = append(errs, check.Required(at.Child("warning"), w.Warning)...)
			errs = append(errs, check.Required(at.Child("fieldRef"), w.FieldRef)...)
		}
	}
	return append(errs, check.Conditions(path.Child("conditions"), s.Conditions)...)
}
