package admissionregistration

import (
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

func (v validator) mutatingPolicyHooks() scheme.Hooks[admissionregistrationv1.MutatingAdmissionPolicy] {
	type object = admissionregistrationv1.MutatingAdmissionPolicy
	return scheme.Hooks[object]{
		Default:        defaultMutatingPolicy,
		ValidateCreate: func(p *object) field.ErrorList { return v.validateMutatingPolicy(p, tolerated{}) },
		ValidateUpdate: func(p, old *object) field.ErrorList {
			return v.validateMutatingPolicy(p, toleratedOfMutating(&p.Spec, &old.Spec))
		},
		SpecChanged: func(p, old *object) bool { return !apiequality.Semantic.DeepEqual(&p.Spec, &old.Spec) },
	}
}

func toleratedOfMutating(spec, old *admissionregistrationv1.MutatingAdmissionPolicySpec) tolerated {
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
	for _, c := range old.Variables {
		t.expressions[c.Expression] = true
	}
	for _, m := range old.Mutations {
		if m.ApplyConfiguration != nil {
			t.expressions[m.ApplyConfiguration.Expression] = true
		}
		if m.JSONPatch != nil {
			t.expressions[m.JSONPatch.Expression] = true
		}
	}
	return t
}

func (v validator) validateMutatingPolicy(p *admissionregistrationv1.MutatingAdmissionPolicy, t tolerated) field.ErrorList {
	path, s := field.NewPath("spec"), &p.Spec
	errs := v.validatePolicy(policy{s.FailurePolicy, s.ParamKind, s.MatchConstraints, s.MatchConditions, s.Variables}, t, path)
	if len(s.Mutations) == 0 {
		errs = append(errs, field.Required(path.Child("mutations"), "mutations must contain at least one item"))
	}
	for i := range s.Mutations {
		errs = append(errs, v.validateMutation(&s.Mutations[i], s, t, path.Child("mutations").Index(i))...)
	}
	at := path.Child("reinvocationPolicy")
	if s.ReinvocationPolicy == "" {
		return append(errs, field.Required(at, ""))
	}
	return append(errs, check.OneOf(at, s.ReinvocationPolicy, admissionregistrationv1.IfNeededReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)...)
}

// validateMutation wants the body that the patch type names, and not the other.
func (v validator) validateMutation(m *admissionregistrationv1.Mutation, s *admissionregistrationv1.MutatingAdmissionPolicySpec, t tolerated, path *field.Path) field.ErrorList {
	body := func(name string, expression *string, place Place) field.ErrorList {
		if expression == nil {
			return field.ErrorList{field.Required(path.Child(name), "must be specified when patchType is "+string(m.PatchType))}
		}
		at := path.Child(name, "expression")
		text := strings.TrimSpace(*expression)
		if text == "" {
			return field.ErrorList{field.Required(at, "")}
		}
		return v.validateExpression(Expression{Text: text, Place: place, Params: s.ParamKind != nil, Variables: s.Variables, Stored: t.expressions[*expression]}, at)
	}
	other := func(name string, set bool) field.ErrorList {
		if !set {
			return nil
		}
		return field.ErrorList{field.Invalid(path.Child(name), "{"+name+"}", "must not be specified when patchType is "+string(m.PatchType))}
	}
	var apply, patch *string
	if m.ApplyConfiguration != nil {
		apply = &m.ApplyConfiguration.Expression
	}
	if m.JSONPatch != nil {
		patch = &m.JSONPatch.Expression
	}
	switch m.PatchType {
	case admissionregistrationv1.PatchTypeApplyConfiguration:
		return append(body("applyConfiguration", apply, ApplyConfiguration), other("jsonPatch", patch != nil)...)
	case admissionregistrationv1.PatchTypeJSONPatch:
		return append(body("jsonPatch", patch, JSONPatch), other("applyConfiguration", apply != nil)...)
	case "":
		return field.ErrorList{field.Required(path.Child("patchType"), "")}
	}
	return field.ErrorList{field.NotSupported(path.Child("patchType"), m.PatchType, []admissionregistrationv1.PatchType{
		admissionregistrationv1.PatchTypeApplyConfiguration, admissionregistrationv1.PatchTypeJSONPatch})}
}
