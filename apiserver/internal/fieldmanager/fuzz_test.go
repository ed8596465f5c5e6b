package fieldmanager

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/builtin"
)

// Anything may be applied to a live object, and to none: it is refused or
// taken, without a panic and without a change to the live object. What was
// taken, and is valid, is taken again without a change.
func FuzzApply(f *testing.F) {
	for _, s := range []string{
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":2}}`,
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, labels: {}, finalizers: [x.io/a]}\n",
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"template":{"spec":{"containers":[{"name":"c","ports":[{"containerPort":80},{"containerPort":81,"protocol":"UDP"}]}]}}}}`,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","managedFields":[{}]}}`,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"selector":null,"template":{"spec":{"containers":[{"image":"i"}]}}}}`,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"selector":null,"template":{"spec":{"containers":[{}]}}}}`,
		`[]`, `null`, ``, `{"a":`, "a: &a [*a]",
	} {
		f.Add([]byte(s))
	}
	served, ok := builtin.Scheme().At(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"})
	if !ok {
		f.Fatal("no deployments")
	}
	m := New(served, NewTypes())
	now := time.Unix(1e9, 0)
	live := &appsv1.Deployment{}
	if err := json.Unmarshal([]byte(`{"metadata":{"name":"d","namespace":"ns"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},
		"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80,"protocol":"TCP"}]}]}}}}`), live); err != nil {
		f.Fatal(err)
	}
	if err := m.Create(live, "maker", now); err != nil {
		f.Fatal(err)
	}
	live.UID = "u"
	live.SetGroupVersionKind(served.GroupVersionKind())
	before, _ := json.Marshal(live)
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 4096 {
			return
		}
		_, _ = m.Apply(nil, body, "m", false, "", now)
		obj, err := m.Apply(live, body, "m", true, "", now)
		if after, _ := json.Marshal(live); string(after) != string(before) {
			t.Fatalf("the live object changed: %s", after)
		}
		if err != nil {
			return
		}
		for _, e := range obj.GetManagedFields() {
			if bytes.Contains(e.FieldsV1.Raw, []byte(`:\"\"`)) {
				return // an item without its key, which validation refuses
			}
		}
		obj.SetUID("u")
		again, err := m.Apply(obj, body, "m", false, "", now.Add(time.Hour))
		if err != nil {
			t.Fatalf("applied again: %v", err)
		}
		a, _ := json.Marshal(obj)
		if b, _ := json.Marshal(again); string(a) != string(b) {
			t.Errorf("applied again:\n%s\n%s", a, b)
		}
	})
}
