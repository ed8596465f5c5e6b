package check

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Conditions requires well-formed conditions of different types. An empty type
// is told of as a bad label name, which clients of Kubernetes 1.36 saw, while
// the library of v1.37 says "is required".
func Conditions(p *field.Path, conditions []metav1.Condition) field.ErrorList {
	var errs field.ErrorList
	for _, err := range metavalidation.ValidateConditions(conditions, p) {
		if err.Type == field.ErrorTypeRequired && err.Detail == "is required" {
			for _, bad := range metavalidation.ValidateLabelName("", nil) {
				bad.Field = err.Field
				errs = append(errs, bad)
			}
			continue
		}
		errs = append(errs, err)
	}
	return errs
}
