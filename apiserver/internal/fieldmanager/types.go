package fieldmanager

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/schemaconv"
	"k8s.io/kube-openapi/pkg/validation/spec"
	smd "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"xebec.dev/api/openapi"
)

// Types makes typed values of built-in objects: it knows how their lists and
// maps merge. Schemas are read from package openapi when a kind is first used,
// and definitions are shared between kinds. It is safe for concurrent use.
type Types struct {
	// mu guards the maps.
	mu    sync.Mutex
	kinds map[schema.GroupVersionKind]*typed.ParseableType
	defs  map[string]smd.TypeDef
}

// NewTypes makes Types with nothing loaded yet.
func NewTypes() *Types {
	return &Types{kinds: map[schema.GroupVersionKind]*typed.ParseableType{}, defs: map[string]smd.TypeDef{}}
}

// Kind is the type of a kind, or an error that IsNotRegisteredError knows.
func (t *Types) Kind(gvk schema.GroupVersionKind) (*typed.ParseableType, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p, ok := t.kinds[gvk]; ok {
		return p, nil
	}
	p, err := t.load(gvk)
	if err != nil {
		return nil, err
	}
	t.kinds[gvk] = p
	return p, nil
}

func (t *Types) load(gvk schema.GroupVersionKind) (*typed.ParseableType, error) {
	d := openapi.Load()
	name, ok := d.Kind(gvk)
	if !ok {
		return nil, runtime.NewNotRegisteredErrForKind("openapi", gvk)
	}
	closure := d.Closure(name)
	missing := map[string]*spec.Schema{}
	for _, n := range closure {
		if _, ok := t.defs[n]; ok {
			continue
		}
		s := &spec.Schema{}
		if err := json.Unmarshal(d.Schema(n), s); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", n, err)
		}
		missing[n] = s
	}
	converted, err := schemaconv.ToSchemaFromOpenAPI(missing, false)
	if err != nil {
		return nil, fmt.Errorf("schema of %v: %w", gvk, err)
	}
	for _, def := range converted.Types {
		t.defs[def.Name] = def
	}
	s := &smd.Schema{Types: make([]smd.TypeDef, 0, len(closure)+2)}
	for _, n := range closure {
		s.Types = append(s.Types, t.defs[n])
	}
	for n, def := range t.defs {
		// The types that schemaconv adds for what has no schema.
		if strings.HasPrefix(n, "__untyped_") {
			s.Types = append(s.Types, def)
		}
	}
	return &typed.ParseableType{TypeRef: smd.TypeRef{NamedType: &name}, Schema: s}, nil
}

// ObjectToTyped reads an object whose kind is set.
func (t *Types) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	p, err := t.Kind(obj.GetObjectKind().GroupVersionKind())
	if err != nil {
		return nil, err
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return p.FromUnstructured(u.Object, opts...)
	}
	return p.FromStructured(obj, opts...)
}

// TypedToObject gives an Unstructured.
func (t *Types) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	m, ok := v.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a %T is not an object", v.AsValue().Unstructured())
	}
	return &unstructured.Unstructured{Object: m}, nil
}
