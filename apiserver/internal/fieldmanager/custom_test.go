package fieldmanager

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const fooSchema = `{"type":"object","properties":{"spec":{"type":"object","properties":{"r":{"type":"integer"},
"m":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k","p"],"items":{"type":"object","required":["k"],
"properties":{"k":{"type":"string"},"p":{"type":"integer","default":1},"v":{"type":"string"}}}},
"s":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},"l":{"type":"array","items":{"type":"string"}},
"o":{"type":"object","x-kubernetes-map-type":"atomic","additionalProperties":{"type":"string"}},
"t":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}}},
"status":{"type":"object","properties":{"r":{"type":"integer"}}}}}`

func foos(t *testing.T) *Custom {
	t.Helper()
	c, err := NewCustom(CustomOptions{
		Kind:    schema.GroupVersionKind{Group: "x.io", Version: "v1", Kind: "Foo"},
		Schemas: map[string][]byte{"v1": []byte(fooSchema), "v2": nil}, Status: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func foo(t *testing.T, body string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(`{"apiVersion":"x.io/v1","kind":"Foo","metadata":{"name":"a","namespace":"ns"},`+body+`}`), u); err != nil {
		t.Fatal(err)
	}
	return u
}

func owners(u *unstructured.Unstructured) string {
	var out []string
	for _, e := range u.GetManagedFields() {
		out = append(out, e.Manager+" "+string(e.Operation)+" "+e.Subresource+" "+string(rawFields(&e)))
	}
	return strings.Join(out, "\n")
}

// As recorded in crd/cr/managed.
func TestCustomUpdates(t *testing.T) {
	c, now := foos(t), time.Unix(1e9, 0)
	a := foo(t, `"spec":{"r":1},"status":{"r":0}`)
	if err := c.Create(a, "replay", now); err != nil {
		t.Fatal(err)
	}
	a.SetUID("u")
	b := a.DeepCopy()
	b.Object["status"] = map[string]any{"r": int64(3)}
	if err := c.Update(a, b, "replay", "status", now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, want := owners(b), "replay Update  {\"f:spec\":{\".\":{},\"f:r\":{}}}\nreplay Update status {\"f:status\":{\"f:r\":{}}}"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if at := b.GetManagedFields()[0].Time; at.Unix() != 1e9 {
		t.Errorf("the first entry's time is %v", at)
	}
}

// As recorded in crd/ssa.
func TestCustomApply(t *testing.T) {
	c, now := foos(t), time.Unix(1e9, 0)
	apply := func(live *unstructured.Unstructured, manager, body string) (*unstructured.Unstructured, error) {
		obj, err := c.Apply(live, []byte(`{"apiVersion":"x.io/v1","kind":"Foo","metadata":{"name":"a"},`+body+`}`), manager, false, "", now)
		if obj != nil {
			obj.SetUID("u")
		}
		return obj, err
	}
	a, err := apply(nil, "m1", `"spec":{"m":[{"k":"a","v":"1"}],"s":["x"],"l":["1"],"o":{"p":"1"}}`)
	if err != nil {
		t.Fatal(err)
	}
	b, err := apply(a, "m2", `"spec":{"m":[{"k":"b","v":"2"}],"s":["y"]}`)
	if err != nil {
		t.Fatal(err)
	}
	want := `m1 Apply  {"f:spec":{"f:l":{},"f:m":{"k:{\"k\":\"a\",\"p\":1}":{".":{},"f:k":{},"f:v":{}}},"f:o":{},"f:s":{"v:\"x\"":{}}}}
m2 Apply  {"f:spec":{"f:m":{"k:{\"k\":\"b\",\"p\":1}":{".":{},"f:k":{},"f:v":{}}},"f:s":{"v:\"y\"":{}}}}`
	if got := owners(b); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for body, text := range map[string]string{
		`"spec":{"l":["2"]}`:                 `Apply failed with 1 conflict: conflict with "m1": .spec.l`,
		`"spec":{"bogus":1}`:                 `failed to create typed patch object (/a; x.io/v1, Kind=Foo): .spec.bogus: field not declared in schema`,
		`"spec":{"m":[{"k":"a"},{"k":"a"}]}`: `failed to create typed patch object (/a; x.io/v1, Kind=Foo): .spec.m: duplicate entries for key [k="a",p=1]`,
		`"spec":{"r":"x"}`:                   `failed to create typed patch object (/a; x.io/v1, Kind=Foo): .spec.r: expected numeric (int or float), got string`,
	} {
		if _, err := apply(b, "m2", body); err == nil || err.Error() != text {
			t.Errorf("%s: %v", body, err)
		}
	}
	if same, err := apply(b, "m2", `"spec":{"m":[{"k":"b","v":"2"}],"s":["y"]}`); err != nil || owners(same) != want {
		t.Errorf("again: %v", err)
	}
}
