package value_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage/value"
)

// sample is an object of a resource with a name and labels.
func sample(r *scheme.Resource) scheme.Object {
	o, ok := r.New().(scheme.Object)
	if !ok {
		return nil
	}
	o.SetName("n")
	o.SetNamespace("ns")
	o.SetLabels(map[string]string{"b": "2", "a": "1"})
	return o
}

// The values are those that Kubernetes' serializer writes, byte for byte.
func TestBytesOfBuiltins(t *testing.T) {
	s := runtime.NewScheme()
	codec := protobuf.NewSerializer(s, s)
	n := 0
	for _, r := range builtin.Scheme().Resources() {
		if r.StoragePrefix == "" || r.Group == "apiextensions.k8s.io" || r.Group == "apiregistration.k8s.io" {
			continue
		}
		o := sample(r)
		if o == nil {
			continue
		}
		n++
		raw, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		o.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
		var want bytes.Buffer
		if err := codec.Encode(o, &want); err != nil {
			t.Fatalf("%s: %v", r.Plural, err)
		}
		c := value.NewCodec(r, nil)
		got, err := c.Seal(raw, "/registry/x")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s:\n%s, want\n%s", r.Plural, hex.Dump(got), hex.Dump(want.Bytes()))
		}
		back, stale, err := c.Open(want.Bytes(), "/registry/x")
		if err != nil || stale || !bytes.Equal(back, raw) {
			t.Errorf("%s: opened %x, %v, want %x", r.Plural, back, err, raw)
		}
	}
	if n < 30 {
		t.Fatalf("only %d resources", n)
	}
}

func resource(t *testing.T, group, plural string) *scheme.Resource {
	r, ok := builtin.Scheme().Resource(group, plural)
	if !ok {
		t.Fatalf("no resource %s", plural)
	}
	return r
}

// A built-in object that was stored as JSON becomes protobuf.
func TestJSONOfBuiltin(t *testing.T) {
	c := value.NewCodec(resource(t, "", "configmaps"), nil)
	raw, stale, err := c.Open([]byte(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"n","namespace":"ns"},"data":{"k":"v"}}`+"\n"), "/registry/x")
	if err != nil || !stale {
		t.Fatal(err)
	}
	var m corev1.ConfigMap
	if err := m.Unmarshal(raw); err != nil || m.Name != "n" || m.Data["k"] != "v" {
		t.Fatalf("%+v, %v", m, err)
	}
}

// Kubernetes stores definitions at a version that it does not serve.
func TestStoredOnly(t *testing.T) {
	c := value.NewCodec(resource(t, "apiextensions.k8s.io", "customresourcedefinitions"), nil)
	raw, _, err := c.Open([]byte(`{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1beta1","metadata":{"name":"n"},`+
		`"spec":{"group":"g","version":"v1","names":{"plural":"p","kind":"K"},"scope":"Cluster","validation":{"openAPIV3Schema":{"type":"object"}},`+
		`"versions":[{"name":"v1","served":true,"storage":true}],"preserveUnknownFields":false},"status":{"storedVersions":["v1"]}}`+"\n"), "/registry/x")
	if err != nil {
		t.Fatal(err)
	}
	var d apiextensionsv1.CustomResourceDefinition
	if err := d.Unmarshal(raw); err != nil || len(d.Spec.Versions) != 1 || d.Spec.Versions[0].Schema.OpenAPIV3Schema.Type != "object" {
		t.Fatalf("%+v, %v", d, err)
	}
}

// Kubernetes keeps the objects of two groups as JSON although they have a
// protobuf form.
func TestTextGroups(t *testing.T) {
	r := *resource(t, "", "configmaps")
	r.Group = "apiextensions.k8s.io"
	c := value.NewCodec(&r, nil)
	raw, err := (&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Data: map[string]string{"k": "<"}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Seal(raw, "")
	want := `{"kind":"ConfigMap","apiVersion":"apiextensions.k8s.io/v1","metadata":{"name":"n"},"data":{"k":"\u003c"}}` + "\n"
	if err != nil || string(v) != want {
		t.Fatalf("%q, %v, want %q", v, err, want)
	}
	if back, stale, err := c.Open(v, ""); err != nil || stale || !bytes.Equal(back, raw) {
		t.Fatalf("%x, %v, want %x", back, err, raw)
	}
}

func TestCustomResource(t *testing.T) {
	c := value.NewCodec(&scheme.Resource{Group: "example.com", Version: "v1", Kind: "Widget", Plural: "widgets"}, nil)
	raw := []byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"}}`)
	v, err := c.Seal(raw, "/registry/x")
	if err != nil || string(v) != string(raw)+"\n" {
		t.Fatalf("%q, %v", v, err)
	}
	back, _, err := c.Open(v, "/registry/x")
	if err != nil || !bytes.Equal(back, raw) {
		t.Fatalf("%q, %v", back, err)
	}
}

func TestBadValues(t *testing.T) {
	pods := value.NewCodec(resource(t, "", "pods"), nil)
	for name, v := range map[string]string{
		"empty":     "",
		"text":      "hello",
		"envelope":  "k8s\x00\xff",
		"other":     "k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x00\x1a\x00\x22\x00",
		"encrypted": "k8s:enc:aescbc:v1:key1:xxx",
		"encoded":   "k8s\x00\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x00\x1a\x04gzip\x22\x00",
		"json kind": `{"kind":"ConfigMap","apiVersion":"v1"}`,
	} {
		if _, _, err := pods.Open([]byte(v), "/registry/pods/a/b"); err == nil || !strings.Contains(err.Error(), "/registry/pods/a/b") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	r, _ := builtin.Scheme().Resource("", "pods")
	c := value.NewCodec(r, nil)
	raw, _ := (&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "n"}}).Marshal()
	v, _ := c.Seal(raw, "")
	f.Add(v)
	f.Add([]byte(`{"kind":"Pod","apiVersion":"v1"}`))
	f.Fuzz(func(t *testing.T, v []byte) {
		raw, _, err := c.Open(v, "/registry/pods/a/b")
		if err != nil {
			return
		}
		sealed, err := c.Seal(raw, "")
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := c.Open(sealed, ""); err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("%x became %x, %v", raw, again, err)
		}
	})
}
