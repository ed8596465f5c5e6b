package resources

import (
	"bytes"
	"encoding/json"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"xebec.dev/api/builtin"
)

// types are client-go's, and this project's own for the one built-in kind
// that client-go does not have.
var types = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(scheme.AddToScheme(s))
	utilruntime.Must(apiextensionsv1.AddToScheme(s))
	gvk := schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"}
	for _, r := range builtin.Scheme().Resources() {
		if r.Kind == gvk.Kind {
			s.AddKnownTypeWithName(gvk, r.New())
			s.AddKnownTypeWithName(gvk.GroupVersion().WithKind("APIServiceList"), r.NewList())
		}
	}
	return s
}()

// envelope begins every protobuf body of Kubernetes.
var envelope = []byte("k8s\x00")

// typed is the JSON form as client-go's struct.
func typed(o object) (runtime.Object, error) {
	gvk := schema.FromAPIVersionAndKind(fmt.Sprint(o["apiVersion"]), fmt.Sprint(o["kind"]))
	out, err := types.New(gvk)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("%s as %T: %w", text, out, err)
	}
	out.GetObjectKind().SetGroupVersionKind(gvk)
	return out, nil
}

// untyped is the reverse.
func untyped(in runtime.Object) (object, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return fromJSON(text)
}

func fromJSON(text []byte) (object, error) {
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, fmt.Errorf("%.200s: %w", text, err)
	}
	return o, nil
}

// message is what generated (or handwritten) protobuf code has.
type message interface {
	Marshal() ([]byte, error)
	Unmarshal(b []byte) error
}

func toProtobuf(o object) ([]byte, error) {
	obj, err := typed(o)
	if err != nil {
		return nil, err
	}
	raw, err := obj.(message).Marshal()
	if err != nil {
		return nil, err
	}
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: o["apiVersion"].(string), Kind: o["kind"].(string)}, Raw: raw}
	body, err := u.Marshal()
	return append(envelope[:len(envelope):len(envelope)], body...), err
}

func fromProtobuf(b []byte) (object, error) {
	body, ok := bytes.CutPrefix(b, envelope)
	if !ok {
		return nil, fmt.Errorf("not protobuf: %.200q", b)
	}
	var u runtime.Unknown
	if err := u.Unmarshal(body); err != nil {
		return nil, err
	}
	gvk := schema.FromAPIVersionAndKind(u.APIVersion, u.Kind)
	obj, err := types.New(gvk)
	if err != nil {
		return nil, err
	}
	if err := obj.(message).Unmarshal(u.Raw); err != nil {
		return nil, fmt.Errorf("%s: %w", gvk, err)
	}
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return untyped(obj)
}
