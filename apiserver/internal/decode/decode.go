// Package decode reads request bodies: JSON, YAML or protobuf into the storage
// type, defaulted, with Kubernetes' errors and warnings.
package decode

import (
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/codec"
	"xebec.dev/api/scheme"
)

// Values of the fieldValidation parameter; "" is Warn.
const (
	Ignore = metav1.FieldValidationIgnore
	Warn   = metav1.FieldValidationWarn
	Strict = metav1.FieldValidationStrict
)

// Target says what a body has to be.
type Target struct {
	// Kind is expected, and assumed where the body does not say.
	Kind schema.GroupVersionKind
	// Also lists further versions of Kind that are taken as they are.
	Also []schema.GroupVersion
}

// Body reads the body of a create or update of the resource's own kind. The
// object is of the storage type, defaulted, with the storage version's kind.
// Errors are statuses.
func Body(res scheme.Served, contentType string, body []byte, validation string) (runtime.Object, []string, error) {
	target := Target{Kind: schema.GroupVersionKind{Group: res.At.Group, Version: res.At.Version, Kind: res.At.Kind}}
	if target.Kind.Kind == "" {
		target.Kind.Kind = res.Kind
	}
	newObject := res.New
	if res.At.New != nil {
		newObject = res.At.New
	}
	obj := newObject()
	warnings, err := Into(obj, target, contentType, body, validation)
	if err != nil {
		return nil, nil, err
	}
	if res.At.Default != nil {
		res.At.Default(obj)
	}
	if res.At.Decode != nil {
		converted, err := res.At.Decode(obj)
		if err != nil {
			return nil, nil, unhandled(target.Kind, target, err)
		}
		obj = converted
	}
	if res.Strategy.Default != nil {
		res.Strategy.Default(obj)
	}
	obj.GetObjectKind().SetGroupVersionKind(res.GroupVersionKind())
	return obj, warnings, nil
}

// Into reads a body into obj, an empty struct of target's kind: subresource
// bodies, reviews. Nothing is defaulted. Errors are statuses.
func Into(obj runtime.Object, target Target, contentType string, body []byte, validation string) ([]string, error) {
	media, err := mediaType(contentType)
	if err != nil {
		return nil, err
	}
	strict := validation != Ignore
	actual, problems, err := read(obj, target, media, body, strict)
	if err != nil {
		return nil, unrecognized(actual, target, body, err)
	}
	if validation == Strict && len(problems) > 0 {
		return nil, unhandled(actual, target, runtime.NewStrictDecodingError(problems))
	}
	if !target.accepts(actual.GroupVersion()) {
		return nil, mismatch(actual.GroupVersion(), target)
	}
	obj.GetObjectKind().SetGroupVersionKind(actual)
	return codec.Warnings(problems), nil
}

func (t Target) accepts(gv schema.GroupVersion) bool {
	if gv == t.Kind.GroupVersion() {
		return true
	}
	for _, also := range t.Also {
		if gv == also {
			return true
		}
	}
	return false
}

// Media types a body may have.
const (
	mediaJSON     = "application/json"
	mediaYAML     = "application/yaml"
	mediaProtobuf = "application/vnd.kubernetes.protobuf"
)

var accepted = []string{mediaJSON, mediaYAML, mediaProtobuf}

func mediaType(contentType string) (string, error) {
	if contentType == "" || contentType == mediaJSON {
		return mediaJSON, nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err == nil {
		for _, a := range accepted {
			if a == media {
				return a, nil
			}
		}
	}
	return "", UnsupportedMediaType(accepted)
}

// UnsupportedMediaType is the 415 Status.
func UnsupportedMediaType(accepted []string) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: "the body of the request was in an unknown format - accepted media types include: " + strings.Join(accepted, ", "),
	}}
}

// read decodes by media type. The kind is what the data says, completed from
// target; it is empty when the data does not get that far.
func read(obj runtime.Object, target Target, media string, body []byte, strict bool) (schema.GroupVersionKind, []error, error) {
	switch media {
	case mediaProtobuf:
		actual, err := readProtobuf(obj, target, body)
		return actual, nil, err
	case mediaYAML:
		data, problem, err := codec.JSONFromYAML(body, strict)
		if err != nil {
			return schema.GroupVersionKind{}, nil, err
		}
		actual, problems, err := readJSON(obj, target, data, body, strict)
		if problem != nil {
			problems = append([]error{problem}, problems...)
		}
		return actual, problems, err
	}
	return readJSON(obj, target, body, body, strict)
}

func readJSON(obj runtime.Object, target Target, data, original []byte, strict bool) (schema.GroupVersionKind, []error, error) {
	u, custom := obj.(*unstructured.Unstructured)
	if !custom && codec.TryJSON(data, obj) {
		if actual, ok := stated(obj, target); ok {
			return actual, nil, nil
		}
		reflect.ValueOf(obj).Elem().SetZero()
	}
	actual, err := codec.KindOf(data)
	if err != nil {
		return schema.GroupVersionKind{}, nil, err
	}
	if custom {
		return readCustom(u, data, original, strict)
	}
	actual = complete(actual, target.Kind)
	if err := checkKind(actual, target); err != nil {
		return actual, nil, err
	}
	problems, err := codec.DecodeJSON(data, obj, strict)
	return actual, problems, err
}

// stated is the kind that a decoded struct says it is, when that is right.
func stated(obj runtime.Object, target Target) (schema.GroupVersionKind, bool) {
	meta, ok := obj.GetObjectKind().(*metav1.TypeMeta)
	if !ok {
		return schema.GroupVersionKind{}, false
	}
	gv, err := schema.ParseGroupVersion(meta.APIVersion)
	if err != nil {
		return schema.GroupVersionKind{}, false
	}
	actual := complete(gv.WithKind(meta.Kind), target.Kind)
	return actual, actual.Kind == target.Kind.Kind && target.accepts(actual.GroupVersion())
}

// readProtobuf also sees to it that the object has a JSON form: it would spoil
// every list it is in if it did not.
func readProtobuf(obj runtime.Object, target Target, body []byte) (schema.GroupVersionKind, error) {
	env, err := codec.ParseEnvelope(body)
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	gv, err := schema.ParseGroupVersion(env.APIVersion)
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	actual := complete(gv.WithKind(env.Kind), target.Kind)
	if err := checkKind(actual, target); err != nil {
		return actual, err
	}
	m, ok := obj.(scheme.Message)
	if !ok {
		return actual, fmt.Errorf("object %T does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message", obj)
	}
	return actual, codec.UnmarshalShowable(env.Raw, m)
}

// complete fills what the data leaves out of its kind.
func complete(actual, expected schema.GroupVersionKind) schema.GroupVersionKind {
	if actual.Kind == "" {
		actual.Kind = expected.Kind
	}
	if actual.Version == "" && (actual.Group == "" || actual.Group == expected.Group) {
		actual.Group, actual.Version = expected.Group, expected.Version
	}
	return actual
}
