package admissionregistration

import (
	"regexp"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Place says where an expression stands, which decides its variables and the
// type of its result.
type Place string

// The places of expressions.
const (
	WebhookMatchCondition Place = "WebhookMatchCondition"
	PolicyMatchCondition  Place = "PolicyMatchCondition"
	Variable              Place = "Variable"
	Validation            Place = "Validation"
	MessageExpression     Place = "MessageExpression"
	AuditAnnotation       Place = "AuditAnnotation"
	ApplyConfiguration    Place = "ApplyConfiguration"
	JSONPatch             Place = "JSONPatch"
)

// Expression is a CEL expression of a policy or a webhook.
type Expression struct {
	Text  string
	Place Place
	// Params is true when the policy has parameters.
	Params bool
	// Variables are those declared before the expression, in order.
	Variables []admissionregistrationv1.Variable
	// Stored is true when the object in storage has the expression already:
	// it stays valid as the language grows stricter.
	Stored bool
}

// CompileExpression tells what is wrong with an expression, "" when nothing
// is: "compilation failed: ..." or "must evaluate to bool but got int".
type CompileExpression func(e Expression) string

// validator holds what the validation of policies and webhooks needs.
type validator struct {
	// compile is nil when expressions are not checked.
	compile CompileExpression
}

func (v validator) validateExpression(e Expression, path *field.Path) field.ErrorList {
	if v.compile == nil {
		return nil
	}
	if fault := v.compile(e); fault != "" {
		return field.ErrorList{field.Invalid(path, e.Text, fault)}
	}
	return nil
}

var (
	identifier = regexp.MustCompile(`^[_a-zA-Z][_a-zA-Z0-9]*$`)
	reserved   = map[string]bool{
		"true": true, "false": true, "null": true, "in": true, "as": true, "break": true, "const": true, "continue": true,
		"else": true, "for": true, "function": true, "if": true, "import": true, "let": true, "loop": true, "package": true,
		"namespace": true, "return": true, "var": true, "void": true, "while": true,
	}
)

// isIdentifier is true of names that can stand alone in an expression.
func isIdentifier(name string) bool { return identifier.MatchString(name) && !reserved[name] }
