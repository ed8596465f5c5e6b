package admissionregistration

import (
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

const maxMatchConditions = 64

// validateMatchConditions fills in the text of the expression e for each.
func (v validator) validateMatchConditions(conditions []admissionregistrationv1.MatchCondition, e Expression, t tolerated, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(conditions) > maxMatchConditions {
		errs = append(errs, field.TooMany(path, len(conditions), maxMatchConditions))
	}
	seen := map[string]bool{}
	for i := range conditions {
		c, at := &conditions[i], path.Index(i)
		e.Text = strings.TrimSpace(c.Expression)
		e.Stored = t.expressions[e.Text]
		if e.Text == "" {
			errs = append(errs, field.Required(at.Child("expression"), ""))
		} else {
			errs = append(errs, v.validateExpression(e, at.Child("expression"))...)
		}
		if c.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
			continue
		}
		errs = append(errs, check.QualifiedName(at.Child("name"), c.Name)...)
		if seen[c.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		}
		seen[c.Name] = true
	}
	return errs
}
