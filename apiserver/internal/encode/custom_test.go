package encode

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

func customEncoder(version string) *Encoder {
	r := &scheme.Resource{
		Group: "example.com", Version: "v1", Kind: "Foo", Plural: "foos", StoragePrefix: "example.com/foos",
		New: func() runtime.Object { return &unstructured.Unstructured{} },
	}
	return New(scheme.Served{Resource: r, At: scheme.Version{Group: "example.com", Version: version, Kind: "Foo"}})
}

func TestCustomObjects(t *testing.T) {
	for _, c := range []struct{ version, raw, want string }{
		{"v1", `{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"a"},"spec":{"x":1}}`,
			`{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"resourceVersion":"42","name":"a"},"spec":{"x":1}}`},
		{"v1", `{"spec":{"metadata":{"a":"}"},"l":["{",{"b":[]}],"s":"\\\""},"metadata":{},"kind":"Foo","apiVersion":"example.com/v1","n":-1.5e3,"t":true}`,
			`{"spec":{"metadata":{"a":"}"},"l":["{",{"b":[]}],"s":"\\\""},"metadata":{"resourceVersion":"42"},"kind":"Foo","apiVersion":"example.com/v1","n":-1.5e3,"t":true}`},
		{"v2", `{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"a"},"n":12345678901234567890}`,
			`{"apiVersion":"example.com/v2","kind":"Foo","metadata":{"resourceVersion":"42","name":"a"},"n":12345678901234567890}`},
		{"v1", `{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"a","resourceVersion":"7"}}`,
			`{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"a","resourceVersion":"42"}}`},
		{"v1", "{ \"apiVersion\": \"example.com/v1\",\n \"kind\": \"Foo\", \"metadata\": {\"name\": \"a\"} }",
			`{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"a","resourceVersion":"42"}}`},
	} {
		e := customEncoder(c.version)
		o := &storage.Object{Raw: []byte(c.raw), Revision: 42}
		got, err := e.AppendObject(nil, Format{}, o)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(got, []byte{'\n'}) != 1 || !equalNumbers(t, got, []byte(c.want)) {
			t.Errorf("got %s", got)
		}
		var list bytes.Buffer
		if err := e.WriteList(&list, Format{}, &storage.List{Revision: 50, Objects: []*storage.Object{o, o}}); err != nil {
			t.Fatal(err)
		}
		want := `{"apiVersion":"example.com/` + c.version + `","kind":"FooList","metadata":{"resourceVersion":"50"},"items":[` + c.want + "," + c.want + "]}"
		if !equalNumbers(t, list.Bytes(), []byte(want)) {
			t.Errorf("got %s", list.Bytes())
		}
	}
}

func equalNumbers(t *testing.T, a, b []byte) bool {
	t.Helper()
	parse := func(b []byte) (v any) {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		return v
	}
	return reflect.DeepEqual(parse(a), parse(b))
}

func TestCustomOtherForms(t *testing.T) {
	e := customEncoder("v1")
	o := &storage.Object{Raw: []byte(`{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"a","labels":{"x":"y"},"other":1},"spec":{"x":1}}`), Revision: 42}
	for _, c := range []struct {
		f    Format
		want string
	}{
		{Format{Shape: Partial}, `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a","resourceVersion":"42","labels":{"x":"y"}}}`},
		{Format{Media: YAML}, `{"kind":"Foo","apiVersion":"example.com/v1","metadata":{"name":"a","resourceVersion":"42","labels":{"x":"y"},"other":1},"spec":{"x":1}}`},
	} {
		b, err := e.AppendObject(nil, c.f, o)
		if err != nil {
			t.Fatal(err)
		}
		if b, err = yaml.YAMLToJSON(b); err != nil || !equalNumbers(t, b, []byte(c.want)) {
			t.Errorf("%v: %s", err, b)
		}
	}
	b, err := e.AppendObject(nil, Format{Shape: Partial, Media: Protobuf}, o)
	if err != nil {
		t.Fatal(err)
	}
	sameMessage(t, "partial", b, b, 42)
	if _, err := e.AppendObject(nil, Format{Media: Protobuf}, o); err == nil {
		t.Error("a custom resource has no protobuf form")
	}
	frame, err := e.Event(Format{Stream: true}, &storage.Event{Type: storage.Bookmark, Revision: 9, InitialEventsEnd: true})
	want := `{"type":"BOOKMARK","object":{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}`
	if err != nil || !equalNumbers(t, frame, []byte(want)) {
		t.Errorf("%v: %s", err, frame)
	}
}
