package decode

import (
	"encoding/json"
	"errors"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/codec"
)

// readCustom reads a custom resource. Its own fields are for its schema to
// judge; its metadata has to fit ObjectMeta, and loses what does not belong.
func readCustom(u *unstructured.Unstructured, data, original []byte, strict bool) (schema.GroupVersionKind, []error, error) {
	content := map[string]any{}
	problems, err := codec.DecodeJSON(data, &content, strict)
	if err != nil {
		return schema.GroupVersionKind{}, nil, err
	}
	u.Object = content
	actual := u.GroupVersionKind()
	if actual.Kind == "" {
		return schema.GroupVersionKind{}, nil, runtime.NewMissingKindErr(string(original))
	}
	unknown, err := fitMetadata(content, strict)
	return actual, append(problems, unknown...), err
}

func fitMetadata(content map[string]any, strict bool) ([]error, error) {
	given, ok := content["metadata"]
	if !ok {
		return nil, nil
	}
	data, err := json.Marshal(given)
	if err != nil {
		return nil, err
	}
	var meta metav1.ObjectMeta
	problems, err := codec.DecodeJSON(data, &meta, strict)
	if err != nil {
		return nil, err
	}
	for i, p := range problems {
		problems[i] = errors.New(strings.Replace(p.Error(), ` field "`, ` field "metadata.`, 1))
	}
	fitted, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&meta)
	if err != nil {
		return nil, err
	}
	content["metadata"] = fitted
	return problems, nil
}
