package patch

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// What the recordings show is replayed in package fieldmanager's tests; here
// are the limits and corners that they do not.
func TestLimits(t *testing.T) {
	served, live := deployments(t)
	many := "[" + strings.Repeat(`{"op":"test","path":"/spec/replicas","value":1},`, 10000) + `{"op":"test","path":"/spec/replicas","value":1}]`
	doubling := `[{"op":"add","path":"/metadata/annotations","value":{"a":"` + strings.Repeat("x", 1000) + `"}}`
	for i := range 20 {
		doubling += fmt.Sprintf(`,{"op":"copy","from":"/metadata/annotations","path":"/metadata/annotations/c%d"}`, i)
	}
	for _, c := range []struct {
		name string
		kind types.PatchType
		body string
		code int32
		text string
	}{
		{"operations", types.JSONPatchType, many, 413, "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"},
		{"copies", types.JSONPatchType, doubling + "]", 422, "the server rejected our request due to an error in our request"},
		{"other", "application/json", "{}", 400, "application/json: unimplemented patch type"},
	} {
		_, _, err := Apply(c.kind, served, live, []byte(c.body), "")
		var s apierrors.APIStatus
		if !errors.As(err, &s) || s.Status().Code != c.code || s.Status().Message != c.text {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, _, err := Apply(types.JSONPatchType, served, live, []byte(many[:len(many)-49]+"]"), ""); err != nil {
		t.Errorf("10000 operations: %v", err)
	}
}

// TestMalformed has what v1.37 says of what is no patch; the recordings are of
// v1.36, which had other words.
func TestMalformed(t *testing.T) {
	served, live := deployments(t)
	for _, c := range []struct {
		kind             types.PatchType
		body, validation string
		code             int32
		text             string
	}{
		{types.JSONPatchType, "", "", 400, "invalid JSON patch"},
		{types.JSONPatchType, "[1,", "Ignore", 400, "invalid JSON patch"},
		{types.JSONPatchType, "[]x", "Strict", 400, "invalid JSON patch"},
		{types.JSONPatchType, "{}", "", 400, "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"},
		{types.JSONPatchType, "{}", "Ignore", 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"},
		{types.JSONPatchType, "[1]", "Ignore", 400, "json: cannot unmarshal number into Go value of type jsonpatch.Operation"},
		{types.JSONPatchType, `[{"op":1}]`, "Ignore", 422, "the server rejected our request due to an error in our request"},
		{types.MergePatchType, "a: b", "", 400, "invalid JSON patch"},
		{types.MergePatchType, `{"a":01}`, "Ignore", 400, "invalid JSON patch"},
		{types.MergePatchType, strings.Repeat("[", 10001) + strings.Repeat("]", 10001), "", 400, "invalid JSON patch"},
		{types.MergePatchType, "[]", "", 400, "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"},
		{types.StrategicMergePatchType, "", "", 400, "invalid JSON patch"},
		{types.StrategicMergePatchType, "{}x", "", 400, "invalid JSON patch"},
	} {
		_, _, err := Apply(c.kind, served, live, []byte(c.body), c.validation)
		var s apierrors.APIStatus
		if !errors.As(err, &s) || s.Status().Code != c.code || s.Status().Message != c.text {
			t.Errorf("%s %.20q %s: %v", c.kind, c.body, c.validation, err)
		}
	}
}

func TestKinds(t *testing.T) {
	served, live := deployments(t)
	for body, text := range map[string]string{
		`{"kind":"Pod","apiVersion":"v1"}`: "converting (v1.Pod) to (apps.Deployment): unknown conversion",
		`{"kind":"Nope"}`:                  `no kind "Nope" is registered for version "apps/v1" in scheme "pkg/runtime/scheme.go:111"`,
		`{"spec":{"replicas":"x"}}`:        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
	} {
		_, _, err := Apply(types.MergePatchType, served, live, []byte(body), "")
		if !apierrors.IsInvalid(err) || !strings.HasSuffix(err.Error(), text) || !strings.HasPrefix(err.Error(), ` "" is invalid: patch: Invalid value: "{`) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestObjectOfAnotherKind(t *testing.T) {
	kind := autoscalingv1.SchemeGroupVersion.WithKind("Scale")
	live := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 2}}
	target := Target{Kind: kind, New: func() runtime.Object { return new(autoscalingv1.Scale) }}
	for _, k := range []types.PatchType{types.MergePatchType, types.StrategicMergePatchType} {
		out, warnings, err := Object(k, target, live, []byte(`{"spec":{"replicas":5,"x":1}}`), "")
		if err != nil || out.(*autoscalingv1.Scale).Spec.Replicas != 5 || len(warnings) != 1 || warnings[0] != `unknown field "spec.x"` {
			t.Errorf("%s: %v %q %v", k, out, warnings, err)
		}
	}
	if live.Spec.Replicas != 2 || live.Kind != "" {
		t.Errorf("the live object changed: %v", live)
	}
}

func BenchmarkPatch(b *testing.B) {
	served, live := deployments(b)
	for _, c := range []struct{ name, kind, body string }{
		{"json", string(types.JSONPatchType), `[{"op":"replace","path":"/spec/template/spec/containers/1/image","value":"z"}]`},
		{"merge", string(types.MergePatchType), `{"spec":{"replicas":3}}`},
		{"strategic", string(types.StrategicMergePatchType), `{"spec":{"template":{"spec":{"containers":[{"name":"d","image":"z"}]}}}}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Apply(types.PatchType(c.kind), served, live, []byte(c.body), ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
