package index_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/index"
)

// slow finds the same by way of unstructured objects.
func slow(r *scheme.Resource, content map[string]any) *storage.Object {
	u := &unstructured.Unstructured{Object: content}
	o := &storage.Object{Namespace: u.GetNamespace(), Name: u.GetName(), UID: string(u.GetUID()), Labels: storage.Labels{}}
	l := u.GetLabels()
	var keys []string
	for k := range l {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		o.Labels = append(o.Labels, k, l[k])
	}
	for _, f := range r.Fields {
		paths := f.Path
		if len(paths) == 0 {
			paths = []string{f.Label}
		}
		v := f.IfEmpty
		for _, p := range paths {
			if s := at(content, strings.Split(strings.TrimPrefix(p, "."), ".")); s != "" {
				v = s
				break
			}
		}
		o.Fields = append(o.Fields, v)
	}
	return o
}

// textual is set while JSON is tested.
var textual bool

func at(v any, path []string) string {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	// In protobuf, zero and absent look alike.
	if v == nil || v == int64(0) || v == false && !textual {
		return ""
	}
	return fmt.Sprint(v)
}

func compare(t *testing.T, got, want *storage.Object) {
	t.Helper()
	if got.Namespace != want.Namespace || got.Name != want.Name || got.UID != want.UID {
		t.Errorf("got %q %q %q, want %q %q %q", got.Namespace, got.Name, got.UID, want.Namespace, want.Name, want.UID)
	}
	if !slices.Equal(got.Labels, want.Labels) {
		t.Errorf("labels %q, want %q", got.Labels, want.Labels)
	}
	if !slices.Equal(got.Fields, want.Fields) {
		t.Errorf("fields %q, want %q", got.Fields, want.Fields)
	}
}

// Every built-in resource, with random contents.
func TestBuiltins(t *testing.T) {
	fill := randfill.New().NilChance(0.3).NumElements(0, 3).RandSource(rand.NewSource(1)).MaxDepth(7).Funcs(
		func(*runtime.RawExtension, randfill.Continue) {},
		func(*resource.Quantity, randfill.Continue) {},
		func(*metav1.FieldsV1, randfill.Continue) {},
		func(*intstr.IntOrString, randfill.Continue) {},
	)
	for _, r := range builtin.Scheme().Resources() {
		if r.StoragePrefix == "" || index.IsJSON(r) {
			continue
		}
		t.Run(r.Plural, func(t *testing.T) {
			e, err := index.New(r)
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				o := r.New().(scheme.Object)
				fill.Fill(o)
				raw, err := o.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
				if err != nil {
					t.Fatal(err)
				}
				got, err := e.Object(raw, 7)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, got, slow(r, content))
				if got.Revision != 7 {
					t.Errorf("revision %d", got.Revision)
				}
			}
		})
	}
}

var widgets = &scheme.Resource{
	Plural: "widgets",
	Fields: []scheme.SelectableField{
		{Label: ".spec.color"}, {Label: "spec.size"}, {Label: "spec.on"},
		{Label: "spec.deep.er"}, {Label: "spec.kind", Path: []string{"spec.none", "kind"}},
	},
}

func TestJSON(t *testing.T) {
	textual = true
	defer func() { textual = false }()
	e, err := index.New(widgets)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`{"kind":"Widget","metadata":{"name":"a","namespace":"b","uid":"c","labels":{"z":"1","a":"","k\u0065y":"v\"\\"}},"spec":{"color":"red","size":12,"on":true,"deep":{"er":"x"}}}`,
		`{ "metadata" : { "labels" : null , "name":"\u00e9\n" }, "spec": [1,{"color":"no"},"}"], "x": -1.5e3 }`,
		`{"metadata":{"annotations":{"labels":"x","name":"y"},"name":"n"},"spec":{"color":null,"on":false,"size":0,"deep":{"er":{"color":"q"}}}}`,
		`{}`,
	} {
		var content map[string]any
		if err := json.Unmarshal([]byte(text), &content); err != nil {
			t.Fatal(err)
		}
		got, err := e.Object([]byte(text), 1)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		want := slow(widgets, content)
		// Not a scalar: not selectable.
		for i, v := range want.Fields {
			if strings.HasPrefix(v, "map[") {
				want.Fields[i] = ""
			}
		}
		compare(t, got, want)
	}
	for _, text := range []string{``, `[]`, `{`, `{"a"}`, `{"a":1`, `{"a":1}x`, `{"a":"`, `{"a":"\`, `{"a":"\x"}`, `{,}`, `{"metadata":{"labels":{"a":}}}`} {
		if _, err := e.Object([]byte(text), 1); err == nil {
			t.Errorf("%q is taken for an object", text)
		}
	}
}

func TestNoSuchField(t *testing.T) {
	pods, _ := builtin.Scheme().Resource("", "pods")
	bad := *pods
	bad.Fields = []scheme.SelectableField{{Label: "spec.nothing"}}
	if _, err := index.New(&bad); err == nil {
		t.Error("a field that leads nowhere is accepted")
	}
}

func FuzzJSON(f *testing.F) {
	e, err := index.New(widgets)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"metadata":{"name":"a","labels":{"x":"y"}},"spec":{"color":"red"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := e.Object(b, 1)
		if !json.Valid(b) || !utf8.Valid(b) {
			return
		}
		var content map[string]any
		if json.Unmarshal(b, &content) != nil || content == nil {
			return
		}
		if err != nil {
			t.Fatalf("an object is refused: %v", err)
		}
		// What stands twice is merged or replaced, as it comes.
		if bytes.Count(b, []byte("metadata")) > 1 || bytes.Count(b, []byte("name")) > 1 || bytes.Contains(b, []byte("u00")) {
			return
		}
		m, _ := content["metadata"].(map[string]any)
		if name, ok := m["name"].(string); ok && got.Name != name {
			t.Fatalf("name %q, want %q", got.Name, name)
		}
	})
}

func FuzzProtobuf(f *testing.F) {
	pods, _ := builtin.Scheme().Resource("", "pods")
	e, err := index.New(pods)
	if err != nil {
		f.Fatal(err)
	}
	o := pods.New().(scheme.Object)
	o.SetName("n")
	o.SetLabels(map[string]string{"a": "b"})
	raw, _ := o.Marshal()
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := e.Object(b, 1)
		o := pods.New().(scheme.Object)
		if o.Unmarshal(b) != nil || err != nil {
			return
		}
		if got.Name != o.GetName() || got.Namespace != o.GetNamespace() {
			t.Fatalf("%q %q, want %q %q", got.Namespace, got.Name, o.GetNamespace(), o.GetName())
		}
		l := map[string]string{}
		for i := 0; i+1 < len(got.Labels); i += 2 {
			l[got.Labels[i]] = got.Labels[i+1]
		}
		if want := o.GetLabels(); len(want) > 0 && !reflect.DeepEqual(l, want) {
			t.Fatalf("labels %q, want %q", l, want)
		}
	})
}
