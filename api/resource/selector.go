package resource

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Fault is what a CEL compiler found.
type Fault struct {
	// Message as for an Invalid error: "compilation failed: ..." or "must
	// evaluate to bool ...".
	Message string
	// TooCostly makes it a Forbidden error about the cost.
	TooCostly bool
}

// CompileExpression checks the expression of a device selector; nil is fine.
// Stored is true when the object in storage has the expression already: it
// stays valid as the language grows stricter.
type CompileExpression func(expression string, stored bool) *Fault

// validator holds what the validation of selectors needs.
type validator struct {
	// compile is nil when expressions are not checked.
	compile CompileExpression
}

func (v validator) validateSelectors(selectors []resourcev1.DeviceSelector, stored func(expression string) bool, path *field.Path) field.ErrorList {
	return validateList(selectors, resourcev1.DeviceSelectorsMaxSize, func(s *resourcev1.DeviceSelector, path *field.Path) field.ErrorList {
		path = path.Child("cel")
		if s.CEL == nil {
			return field.ErrorList{field.Required(path, "")}
		}
		return v.validateExpression(s.CEL.Expression, stored(s.CEL.Expression), path.Child("expression"))
	}, path)
}

func (v validator) validateExpression(expression string, stored bool, path *field.Path) field.ErrorList {
	if !stored && len(expression) > resourcev1.CELSelectorExpressionMaxLength {
		return field.ErrorList{field.TooLong(path, "", resourcev1.CELSelectorExpressionMaxLength)}
	}
	if v.compile == nil {
		return nil
	}
	fault := v.compile(expression, stored)
	switch {
	case fault == nil:
		return nil
	case fault.TooCostly:
		return field.ErrorList{field.Forbidden(path, "too complex, exceeds cost limit")}
	}
	return field.ErrorList{field.Invalid(path, expression, fault.Message)}
}

func always(stored bool) func(string) bool { return func(string) bool { return stored } }
