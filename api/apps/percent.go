package apps

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateCountOrPercent checks a number of pods given as such or in percent.
func validateCountOrPercent(v *intstr.IntOrString, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if v.Type == intstr.Int {
		return nonnegative(int64(v.IntVal), path)
	}
	for _, msg := range validation.IsValidPercent(v.StrVal) {
		errs = append(errs, field.Invalid(path, v, msg))
	}
	return errs
}

func validateAtMostAll(v *intstr.IntOrString, path *field.Path) field.ErrorList {
	if percent, ok := percentOf(v); ok && percent > 100 {
		return field.ErrorList{field.Invalid(path, v, "must not be greater than 100%")}
	}
	return nil
}

// isZero is true for 0, 0% and what is no number; "3" without a percent sign is
// malformed but not zero.
func isZero(v *intstr.IntOrString) bool {
	if percent, ok := percentOf(v); ok {
		return percent == 0
	}
	return v.IntValue() == 0
}

func percentOf(v *intstr.IntOrString) (int, bool) {
	if v.Type != intstr.String || len(validation.IsValidPercent(v.StrVal)) > 0 {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%"))
	return n, err == nil
}
