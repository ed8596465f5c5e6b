package openapi

import (
	"encoding/json"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/builtin"
)

// Every kind that is served has a schema, and every reference leads somewhere.
func TestDefinitionsAreComplete(t *testing.T) {
	d := Load()
	for _, r := range builtin.Scheme().Resources() {
		for _, v := range r.ServedVersions() {
			kind := v.Kind
			if kind == "" {
				kind = r.Kind
			}
			gvk := schema.GroupVersionKind{Group: v.Group, Version: v.Version, Kind: kind}
			if _, ok := d.Kind(gvk); !ok {
				t.Errorf("%v has no definition", gvk)
			}
		}
	}
	for _, name := range d.Names() {
		if !json.Valid(d.Schema(name)) {
			t.Errorf("%s: invalid JSON", name)
		}
		for _, ref := range d.References(name) {
			if d.Schema(ref) == nil {
				t.Errorf("%s names %s, which is missing", name, ref)
			}
		}
	}
}

func TestPod(t *testing.T) {
	d := Load()
	name, _ := d.Kind(schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	if name != "io.k8s.api.core.v1.Pod" {
		t.Fatalf("Pod is %q", name)
	}
	if !slices.Contains(d.Closure(name), "io.k8s.api.core.v1.ContainerPort") {
		t.Error("a Pod's closure lacks ContainerPort")
	}
	var s struct {
		Properties map[string]map[string]any
	}
	if err := json.Unmarshal(d.Schema("io.k8s.api.core.v1.PodSpec"), &s); err != nil {
		t.Fatal(err)
	}
	c := s.Properties["containers"]
	if c["x-kubernetes-list-type"] != "map" || c["x-kubernetes-patch-merge-key"] != "name" {
		t.Errorf("containers: %v", c)
	}
}

func TestLoadIsShared(t *testing.T) {
	a := Load()
	if b := Load(); a != b {
		t.Error("two copies while one is held")
	}
}

func BenchmarkUnpack(b *testing.B) {
	for b.Loop() {
		if _, err := unpack(packed); err != nil {
			b.Fatal(err)
		}
	}
}
