package decode

import (
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/codec"
	"xebec.dev/api/scheme"
)

func TestDeleteOptions(t *testing.T) {
	for _, c := range []struct{ contentType, body, want string }{
		{"", `{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":3}`, ""},
		{"", `{"apiVersion":"meta.k8s.io/v1","kind":"DeleteOptions"}`, ""},
		{"", `{"apiVersion":"x.io/v1","kind":"DeleteOptions"}`, ""},
		{"", `{"apiVersion":"v1"}`, ""},
		{"", `{"unknown":1}`, ""},
		{"", `null`, ""},
		{"application/yaml", "propagationPolicy: Background\n", ""},
		{"", `{"apiVersion":"v1","kind":"ConfigMap"}`, `no kind "ConfigMap" is registered for version "v1" in scheme "pkg/runtime/scheme.go:111"`},
		{"", `{"gracePeriodSeconds":"x"}`, "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"},
		{"", `[]`, "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }"},
		{"text/plain", `{}`, "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
	} {
		o, err := DeleteOptions(c.contentType, []byte(c.body))
		if got := message(err); got != c.want || (err == nil) != (o != nil) {
			t.Errorf("%s: %s", c.body, got)
		}
	}
	seconds := int64(7)
	raw, err := (&metav1.DeleteOptions{GracePeriodSeconds: &seconds}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	o, err := DeleteOptions(mediaProtobuf, codec.AppendEnvelope(nil, "policy/v1", "DeleteOptions", raw))
	if err != nil || *o.GracePeriodSeconds != 7 {
		t.Errorf("%v %v", o, err)
	}
	if o, err := DeleteOptions("", nil); o != nil || err != nil {
		t.Errorf("%v %v for no body", o, err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestInto(t *testing.T) {
	scale := Target{Kind: autoscalingv1.SchemeGroupVersion.WithKind("Scale")}
	eviction := Target{Kind: policyv1.SchemeGroupVersion.WithKind("Eviction"), Also: []schema.GroupVersion{{Group: "policy", Version: "v1beta1"}}}
	for _, c := range []struct {
		obj        runtime.Object
		target     Target
		body, want string
	}{
		{&autoscalingv1.Scale{}, scale, `{"spec":{"replicas":1}}`, ""},
		{&autoscalingv1.Scale{}, scale, `{"apiVersion":"apps/v1","kind":"Scale"}`, `Scale in version "v1" cannot be handled as a Scale: no kind "Scale" is registered for version "apps/v1" in scheme "pkg/runtime/scheme.go:111"`},
		{&autoscalingv1.Scale{}, scale, `{"apiVersion":"extensions/v1beta1","kind":"Scale"}`, "the API version in the data (extensions/v1beta1) does not match the expected API version (autoscaling/v1)"},
		{&autoscalingv1.Scale{}, scale, `{"apiVersion":"apps/v1","kind":"Deployment"}`, `Deployment in version "v1" cannot be handled as a Scale: converting (v1.Deployment) to (autoscaling.Scale): unknown conversion`},
		{&policyv1.Eviction{}, eviction, `{"apiVersion":"policy/v1beta1","kind":"Eviction"}`, ""},
	} {
		_, err := Into(c.obj, c.target, "", []byte(c.body), "")
		if got := message(err); got != c.want {
			t.Errorf("%s: %s", c.body, got)
		}
		if err == nil && c.obj.GetObjectKind().GroupVersionKind().Kind == "" {
			t.Errorf("%s: no kind", c.body)
		}
	}
}

func TestCustomBody(t *testing.T) {
	r := &scheme.Resource{Group: "example.com", Version: "v1", Kind: "Foo", Plural: "foos",
		New: func() runtime.Object { return &unstructured.Unstructured{} }}
	res := scheme.Served{Resource: r, At: scheme.Version{Group: "example.com", Version: "v1", Kind: "Foo"}}
	for _, c := range []struct{ body, want, problems string }{
		{`{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"a"},"spec":{"n":9007199254740993}}`, "", ""},
		{`{"metadata": {"name": "a"}}`, `the object provided is unrecognized (must be of type Foo): Object 'Kind' is missing in '{"metadata": {"name": "a"}}' ({"metadata": {"name": "a"}})`, ""},
		{`{"apiVersion":"v1","kind":"Foo"}`, "the API version in the data (v1) does not match the expected API version (example.com/v1)", ""},
		{`{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"a","labels":{"a":1}}}`, `Foo in version "v1" cannot be handled as a Foo: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string`, ""},
		{`{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"q","nope":1},"spec":{},"spec":{}}`, "", `duplicate field "spec", unknown field "metadata.nope"`},
		{`{`, "the object provided is unrecognized (must be of type Foo): couldn't get version/kind; json parse error: unexpected end of JSON input ({)", ""},
	} {
		obj, warnings, err := Body(res, "", []byte(c.body), "")
		if message(err) != c.want || strings.Join(warnings, ", ") != c.problems {
			t.Errorf("%s: %v %q", c.body, err, warnings)
		}
		if err == nil {
			if n, ok, _ := unstructured.NestedInt64(obj.(*unstructured.Unstructured).Object, "spec", "n"); ok && n != 9007199254740993 {
				t.Error("an integer lost its value")
			}
			if _, ok, _ := unstructured.NestedFieldNoCopy(obj.(*unstructured.Unstructured).Object, "metadata", "nope"); ok {
				t.Error("metadata has a field that does not belong")
			}
		}
	}
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		size, hint, limit int64
		tooLarge          bool
	}{{0, 0, 10, false}, {10, 10, 10, false}, {10, -1, 10, false}, {11, -1, 10, true}, {11, 11, 10, true}, {5000, -1, 10000, false}, {5, 2, 10, false}} {
		b, err := Read(strings.NewReader(strings.Repeat("x", int(c.size))), c.hint, c.limit)
		if c.tooLarge != apierrors.IsRequestEntityTooLargeError(err) || err == nil && int64(len(b)) != c.size {
			t.Errorf("%+v: %d bytes, %v", c, len(b), err)
		}
	}
}
