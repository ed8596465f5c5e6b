package fieldmanager

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/codec"
)

// CheckPatch finds what an applied configuration gives twice, which an apply
// does not see. fieldValidation decides between warnings and a refusal. Call
// it once the apply has worked: unknown fields fail there.
func CheckPatch(patch []byte, fieldValidation string) (warnings []string, err error) {
	if fieldValidation == metav1.FieldValidationIgnore {
		return nil, nil
	}
	_, problem, err := codec.JSONFromYAML(patch, true)
	if err != nil || problem == nil {
		return nil, err
	}
	if fieldValidation == metav1.FieldValidationStrict {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error strict decoding YAML: %v", problem))
	}
	return codec.Warnings([]error{problem}), nil
}
