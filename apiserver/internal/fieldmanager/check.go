package fieldmanager

import (
	"bytes"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

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
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error strict decoding patch: error converting YAML to JSON: %v", problem))
	}
	return codec.Warnings([]error{problem}), nil
}

// configuration decodes an applied configuration. What does not begin as JSON
// does is made JSON first in Kubernetes, whose error then says so.
func configuration(patch []byte) (*unstructured.Unstructured, error) {
	config := &unstructured.Unstructured{Object: map[string]any{}}
	err := yaml.Unmarshal(patch, &config.Object)
	if err == nil {
		return config, nil
	}
	text := err.Error()
	if cause, ok := strings.CutPrefix(text, "error converting YAML to JSON: "); ok && !bytes.HasPrefix(bytes.TrimSpace(patch), []byte("{")) {
		return nil, apierrors.NewBadRequest("error encoding patch: " + cause)
	}
	return nil, apierrors.NewBadRequest("error decoding patch: " + text)
}
