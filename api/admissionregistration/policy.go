package admissionregistration

import (
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// policy is what validating and mutating policies have in common.
type policy struct {
	failurePolicy    *admissionregistrationv1.FailurePolicyType
	paramKind        *admissionregistrationv1.ParamKind
	matchConstraints *admissionregistrationv1.MatchResources
	matchConditions  []admissionregistrationv1.MatchCondition
	variables        []admissionregistrationv1.Variable
}

func (v validator) validatePolicy(p policy, t tolerated, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p.failurePolicy == nil {
		errs = append(errs, field.Required(path.Child("failurePolicy"), ""))
	} else {
		errs = append(errs, check.OneOf(path.Child("failurePolicy"), *p.failurePolicy, admissionregistrationv1.Fail, admissionregistrationv1.Ignore)...)
	}
	if p.paramKind != nil {
		errs = append(errs, validateParamKind(p.paramKind, path.Child("paramKind"))...)
	}
	at := path.Child("matchConstraints")
	if p.matchConstraints == nil {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, validateMatchResources(p.matchConstraints, t, at)...)
		if len(p.matchConstraints.ResourceRules) == 0 {
			errs = append(errs, field.Required(at.Child("resourceRules"), ""))
		}
	}
	if !t.conditions {
		e := Expression{Place: PolicyMatchCondition, Params: p.paramKind != nil}
		errs = append(errs, v.validateMatchConditions(p.matchConditions, e, t, path.Child("matchConditions"))...)
	}
	for i := range p.variables {
		e := Expression{Place: Variable, Params: p.paramKind != nil, Variables: p.variables[:i]}
		errs = append(errs, v.validateVariable(&p.variables[i], e, t, path.Child("variables").Index(i))...)
	}
	return errs
}

func validateParamKind(k *admissionregistrationv1.ParamKind, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("apiVersion")
	if k.APIVersion == "" {
		errs = append(errs, field.Required(at, ""))
	} else if gv, err := schema.ParseGroupVersion(k.APIVersion); err != nil {
		errs = append(errs, field.Invalid(at, k.APIVersion, err.Error()))
	} else {
		if faults := validation.IsDNS1123Subdomain(gv.Group); gv.Group != "" && len(faults) > 0 {
			errs = append(errs, field.Invalid(at, gv.Group, strings.Join(faults, ",")))
		}
		if gv.Version == "" {
			errs = append(errs, field.Invalid(at, k.APIVersion, "version must be specified"))
		} else if faults := validation.IsDNS1035Label(gv.Version); len(faults) > 0 {
			errs = append(errs, field.Invalid(at, gv.Version, strings.Join(faults, ",")))
		}
	}
	if k.Kind == "" {
		errs = append(errs, field.Required(path.Child("kind"), ""))
	} else if faults := validation.IsDNS1035Label(strings.ToLower(k.Kind)); len(faults) > 0 {
		errs = append(errs, field.Invalid(path.Child("kind"), k.Kind, "may have mixed case, but should otherwise match: "+strings.Join(faults, ",")))
	}
	return errs
}

func (v validator) validateVariable(variable *admissionregistrationv1.Variable, e Expression, t tolerated, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if strings.TrimSpace(variable.Name) == "" {
		errs = append(errs, field.Required(path.Child("name"), "name is not specified"))
	} else if !isIdentifier(variable.Name) {
		errs = append(errs, field.Invalid(path.Child("name"), variable.Name, "must be a valid CEL identifier"))
	}
	if strings.TrimSpace(variable.Expression) == "" {
		return append(errs, field.Required(path.Child("expression"), "expression is not specified"))
	}
	e.Text, e.Stored = variable.Expression, t.expressions[variable.Expression]
	return append(errs, v.validateExpression(e, path.Child("expression"))...)
}
