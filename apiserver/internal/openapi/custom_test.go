package openapi

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	gnostic "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"
	smdproto "k8s.io/kube-openapi/pkg/util/proto"

	"xebec.dev/apiserver/internal/discovery"
)

const fooSchema = `{"type":"object","description":"Foo is one.","required":["spec"],"properties":{
	"spec":{"type":"object","required":["size","note"],"properties":{
		"size":{"type":"integer","default":3},
		"note":{"type":"string","nullable":true},
		"ports":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}}},
		"free":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"known":{"type":"string"}}},
		"pod":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}}},
	"status":{"type":"object","properties":{"ready":{"type":"boolean"}}}}}`

var foo = CustomKind{
	Kind: schema.GroupVersionKind{Group: "x.example.com", Version: "v1", Kind: "Foo"}, ListKind: "FooList", Plural: "foos", Schema: []byte(fooSchema),
}

func withFoo() []discovery.Group {
	return append(groups(), discovery.Group{Name: "x.example.com", Versions: []discovery.Version{{Name: "v1", Resources: []discovery.Resource{{
		Plural: "foos", Singular: "foo", Kind: "Foo", ListKind: "FooList", Namespaced: true,
		Verbs:        []string{"delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"},
		Subresources: []discovery.Subresource{{Name: "status", Kind: "Foo", Verbs: []string{"get", "patch", "update"}}},
	}}}}})
}

func TestCustom(t *testing.T) {
	h := handler()
	apps := get(t, h, "/openapi/v3/apis/apps/v1").Header().Get("ETag")
	kept := h.current.Load().v3["apis/apps/v1"]
	h.Set(withFoo(), foo)
	if w := get(t, h, "/openapi/v3/apis/apps/v1"); w.Header().Get("ETag") != apps || h.current.Load().v3["apis/apps/v1"] != kept {
		t.Error("another version's document has changed")
	}
	const path = "/openapi/v3/apis/x.example.com/v1"
	doc := document3(t, h, path)
	const item = "/apis/x.example.com/v1/namespaces/{namespace}/foos/{name}"
	patch := at(doc, "paths", item, "patch")
	if id := at(patch, "operationId"); id != "patchXExampleComV1NamespacedFoo" {
		t.Errorf("%v", id)
	}
	for media := range at(patch, "requestBody", "content").(map[string]any) {
		if strings.Contains(media, "strategic") {
			t.Error("a strategic merge patch of a custom resource")
		}
	}
	for media := range at(doc, "paths", item+"/status", "get", "responses", "200", "content").(map[string]any) {
		if strings.Contains(media, "protobuf") {
			t.Error("protobuf of a custom resource")
		}
	}
	model := at(doc, "components", "schemas", "com.example.x.v1.Foo")
	if at(model, "properties", "spec", "properties", "size", "default") != 3.0 || at(model, "properties", "metadata", "allOf") == nil ||
		at(model, "x-kubernetes-group-version-kind") == nil || at(model, "properties", "apiVersion", "type") != "string" {
		t.Errorf("%v", model)
	}
	if at(doc, "components", "schemas", "com.example.x.v1.FooList", "properties", "items") == nil ||
		at(doc, "components", "schemas", objectMetaModel) == nil {
		t.Error("no list")
	}

	changed := foo
	changed.Schema = []byte(strings.Replace(fooSchema, "is one", "is two", 1))
	before := get(t, h, path).Header().Get("ETag")
	h.Set(withFoo(), changed)
	if get(t, h, path).Header().Get("ETag") == before {
		t.Error("a change of the schema does not change the document's tag")
	}
}

func TestCustomV2(t *testing.T) {
	h := NewHandler("v1.37.2")
	all := withFoo()
	h.Set(all[len(all)-1:], foo)
	var doc map[string]any
	if err := json.Unmarshal(get(t, h, "/openapi/v2").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	spec := at(doc, "definitions", "com.example.x.v1.Foo", "properties", "spec").(map[string]any)
	for _, c := range []struct {
		field, key string
		want       any
	}{
		{"size", "default", nil},
		{"note", "type", nil},
		{"note", "nullable", nil},
		{"ports", "x-kubernetes-list-type", "map"},
		{"free", "properties", nil},
	} {
		if got := at(spec, "properties", c.field, c.key); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %s: %v", c.field, c.key, got)
		}
	}
	if !reflect.DeepEqual(spec["required"], []any{"size"}) || at(spec, "properties", "pod", "properties", "metadata") == nil {
		t.Errorf("%v", spec)
	}

	proto2 := &gnostic.Document{}
	if err := proto.Unmarshal(get(t, h, "/openapi/v2", "Accept", typeV2).Body.Bytes(), proto2); err != nil {
		t.Fatal(err)
	}
	models, err := smdproto.NewOpenAPIData(proto2)
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := models.LookupModel("com.example.x.v1.Foo").(*smdproto.Kind); !ok || k.Fields["spec"] == nil {
		t.Error("clients cannot read it")
	}
}

// A version whose schema is none takes everything; one that is no JSON is an
// error when the document is asked for.
func TestCustomWithoutSchema(t *testing.T) {
	h := NewHandler("v1.37.2")
	all := withFoo()
	none := foo
	none.Schema = nil
	h.Set(all[len(all)-1:], none)
	model := at(document3(t, h, "/openapi/v3/apis/x.example.com/v1"), "components", "schemas", "com.example.x.v1.Foo")
	if at(model, "x-kubernetes-preserve-unknown-fields") != true {
		t.Errorf("%v", model)
	}
	none.Schema = []byte(`{`)
	h.Set(all[len(all)-1:], none)
	if _, err := h.current.Load().v3["apis/x.example.com/v1"].zipped(formJSON); err == nil {
		t.Error("no error")
	}
}
