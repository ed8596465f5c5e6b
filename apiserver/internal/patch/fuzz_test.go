package patch

import (
	"encoding/json"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
)

const deploymentJSON = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"ns","uid":"u","resourceVersion":"5",
"labels":{"a":"b"},"finalizers":["x.io/a","x.io/b"],"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u1"}]},
"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"volumes":[{"name":"v","emptyDir":{}}],
"containers":[{"name":"c","image":"i","ports":[{"containerPort":80,"protocol":"TCP"}],"env":[{"name":"A","value":"1"}],"command":["x","y"],
"volumeMounts":[{"name":"v","mountPath":"/v"}]},{"name":"d","image":"j"}]}}}}`

func deployments(t testing.TB) (scheme.Served, *appsv1.Deployment) {
	t.Helper()
	served, ok := builtin.Scheme().At(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"})
	if !ok {
		t.Fatal("no deployments")
	}
	d := &appsv1.Deployment{}
	if err := json.Unmarshal([]byte(deploymentJSON), d); err != nil {
		t.Fatal(err)
	}
	return served, d
}

// fuzz applies anything to a deployment: it may be refused, it must not panic
// nor touch the live object.
func fuzz(f *testing.F, kind types.PatchType, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	served, live := deployments(f)
	before, _ := json.Marshal(live)
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 4096 {
			return
		}
		obj, _, err := Apply(kind, served, live, body, "Warn")
		if err == nil && obj == nil {
			t.Error("neither object nor error")
		}
		if after, _ := json.Marshal(live); string(after) != string(before) {
			t.Errorf("the live object changed: %s", after)
		}
	})
}

func FuzzJSONPatch(f *testing.F) {
	fuzz(f, types.JSONPatchType,
		`[{"op":"replace","path":"/spec/template/spec/containers/1/image","value":"z"}]`,
		`[{"op":"add","path":"/metadata/labels/x~1y","value":"z"},{"op":"remove","path":"/metadata/labels/a"}]`,
		`[{"op":"copy","from":"/spec","path":"/spec/x"},{"op":"move","from":"/metadata/labels","path":"/metadata/annotations"}]`,
		`[{"op":"test","path":"/spec/replicas","value":1},{"op":"replace","path":"","value":null}]`,
		`[null]`, `null`, `[{"op":"add","path":"/spec/template/spec/containers/-","value":{}}]`,
		`[{"op":"remove","path":""}]`, `[{"op":"replace","path":""}]`, `[{"op":"add","path":"/spec/template/spec/containers/-1","value":[]}]`,
	)
}

func FuzzMergePatch(f *testing.F) {
	fuzz(f, types.MergePatchType, `{"spec":{"replicas":null,"template":{"spec":{"containers":[]}}}}`, `null`, `{}`, `[]`, `{"kind":null}`, `{"metadata":7}`)
}

func FuzzStrategic(f *testing.F) {
	fuzz(f, types.StrategicMergePatchType,
		`{"spec":{"template":{"spec":{"containers":[{"name":"c","$patch":"delete"}],"$setElementOrder/containers":[{"name":"d"}]}}}}`,
		`{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}`,
		`{"metadata":{"$deleteFromPrimitiveList/finalizers":["x.io/a"],"finalizers":["x.io/c"]}}`,
		`{"$patch":"replace","metadata":{"name":"d"}}`, `{"spec":{"template":{"spec":{"containers":[{"$patch":"replace"}]}}}}`,
		`{"metadata":{"ownerReferences":[{"uid":"u1","$patch":"delete"}]}}`, `{"spec":null}`, `{"spec":{"nope":[{"a":1}]}}`,
	)
}
