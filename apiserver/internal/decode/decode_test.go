package decode

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/builtin"
)

func TestBodyErrors(t *testing.T) {
	s := builtin.Scheme()
	for _, c := range []struct{ resource, contentType, validation, body, want string }{
		{"v1/configmaps", "text/plain", "", `{}`, "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{"v1/configmaps", "", "", ``, "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"},
		{"v1/pods", "", "", `not json`, "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: invalid character 'o' in literal null (expecting 'u') (6e6f74206a736f6e)"},
		{"v1/configmaps", "", "", `{"apiVersion": "a/b/c", "kind": "ConfigMap", "metadata": {"name": "a"}}`, `the object provided is unrecognized (must be of type ConfigMap): unexpected GroupVersion string: a/b/c ({"apiVersion": "a/b/c", "kind" ...)`},
		{"v1/configmaps", "", "", `{"apiVersion": "v1", "kind": "List", "items": []}`, `List in version "v1" cannot be handled as a ConfigMap: converting (v1.List) to (core.ConfigMap): unknown conversion`},
		{"v1/configmaps", "", "", `{"apiVersion": "v2", "kind": "ConfigMap"}`, `ConfigMap in version "v2" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v2" in scheme "pkg/runtime/scheme.go:111"`},
		{"apps/v1/deployments", "", "", `{"apiVersion": "extensions/v1beta1", "kind": "Deployment"}`, `the API version in the data (extensions/v1beta1) does not match the expected API version (apps/v1)`},
		{"autoscaling/v2/horizontalpodautoscalers", "", "", `{"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler"}`, `the API version in the data (autoscaling/v1) does not match the expected API version (autoscaling/v2)`},
		{"v1/configmaps", "", "", `{"data":"x"}`, `ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string`},
		{"v1/configmaps", "", "Strict", `{"metadata":{"name":"a","name":"b"},"data":{"k":"1","k":"2"},"kind":"ConfigMap","kind":"ConfigMap"}`, `ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: duplicate field "metadata.name", duplicate field "data.k", duplicate field "kind"`},
		{"v1/configmaps", "application/vnd.kubernetes.protobuf", "", `{"apiVersion": "v1", "kind": "ConfigMap"}`, `the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a protobuf message, expected prefix [107 56 115 0] ({"apiVersion": "v1", "kind": " ...)`},
		{"v1/configmaps", "application/yaml", "", `hello`, "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" } (68656c6c6f)"},
	} {
		gv, resource := split(c.resource)
		res, ok := s.At(gv.WithResource(resource))
		if !ok {
			t.Fatal(c.resource)
		}
		_, _, err := Body(res, c.contentType, []byte(c.body), c.validation)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s %s\n got %v\nwant %s", c.resource, c.body, err, c.want)
		}
	}
}

func split(s string) (schema.GroupVersion, string) {
	i := len(s) - 1
	for s[i] != '/' {
		i--
	}
	gv, err := schema.ParseGroupVersion(s[:i])
	if err != nil {
		panic(err)
	}
	return gv, s[i+1:]
}

func TestBodyWarnings(t *testing.T) {
	res, _ := builtin.Scheme().At(corev1.SchemeGroupVersion.WithResource("configmaps"))
	obj, warnings, err := Body(res, "application/yaml", []byte("metadata:\n  name: a\n  foo: 1\n  name: b\ndata:\n  k: \"1\"\nbar: 2\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := obj.(*corev1.ConfigMap); got.Name != "b" || got.Data["k"] != "1" {
		t.Errorf("%+v", got)
	}
	want := []string{`line 4: key "name" already set in map`, `unknown field "bar"`, `unknown field "metadata.foo"`}
	if len(warnings) != 3 || warnings[0] != want[0] || warnings[1] != want[1] || warnings[2] != want[2] {
		t.Errorf("%q", warnings)
	}
}
