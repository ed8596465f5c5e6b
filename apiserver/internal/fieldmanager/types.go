package fieldmanager

import (
	"encoding/json"
	"fmt"
	"reflect"
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
	mu sync.Mutex
	// kinds and defs are what the library needs, of kinds that it was asked
	// about.
	kinds map[schema.GroupVersionKind]*typed.ParseableType
	defs  map[string]smd.TypeDef
	// plans are for the walk. They outlive the schemas that they are made from.
	plans map[planKey]*plan
}

// NewTypes makes Types with nothing loaded yet.
func NewTypes() *Types {
	return &Types{
		kinds: map[schema.GroupVersionKind]*typed.ParseableType{}, defs: map[string]smd.TypeDef{}, plans: map[planKey]*plan{},
	}
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
		s, err := parse(d, n)
		if err != nil {
			return nil, err
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

func parse(d *openapi.Definitions, name string) (*spec.Schema, error) {
	s := &spec.Schema{}
	if err := json.Unmarshal(d.Schema(name), s); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", name, err)
	}
	return s, nil
}

// plan compiles how the walk goes over a kind's Go type, or gives an error
// when only the library can.
func (t *Types) plan(gvk schema.GroupVersionKind, goType reflect.Type) (*plan, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := openapi.Load()
	name, ok := d.Kind(gvk)
	if !ok {
		return nil, runtime.NewNotRegisteredErrForKind("openapi", gvk)
	}
	return compile(goType, name, &atoms{d, map[string]smd.Atom{}}, t.plans)
}

// atoms are definitions in the library's form, converted as they are asked for.
type atoms struct {
	defs  *openapi.Definitions
	known map[string]smd.Atom
}

// resolve follows a reference as the library's schemas do.
func (a *atoms) resolve(ref smd.TypeRef) (smd.Atom, error) {
	if ref.NamedType == nil {
		return ref.Inlined, nil
	}
	atom, ok := a.known[*ref.NamedType]
	if !ok {
		var err error
		if atom, err = a.convert(*ref.NamedType); err != nil {
			return smd.Atom{}, err
		}
	}
	if ref.ElementRelationship == nil {
		return atom, nil
	}
	switch {
	case atom.Map != nil:
		m := smd.Map{}
		atom.Map.CopyInto(&m)
		m.ElementRelationship = *ref.ElementRelationship
		atom.Map = &m
	case atom.List != nil:
		l := *atom.List
		l.ElementRelationship = *ref.ElementRelationship
		atom.List = &l
	default:
		return smd.Atom{}, fmt.Errorf("%s has no elements", *ref.NamedType)
	}
	return atom, nil
}

func (a *atoms) convert(name string) (smd.Atom, error) {
	models := map[string]*spec.Schema{}
	if a.defs.Schema(name) != nil {
		s, err := parse(a.defs, name)
		if err != nil {
			return smd.Atom{}, err
		}
		models[name] = s
	}
	converted, err := schemaconv.ToSchemaFromOpenAPI(models, false)
	if err != nil {
		return smd.Atom{}, fmt.Errorf("schema of %s: %w", name, err)
	}
	// The conversion adds the types for what has no schema.
	for _, def := range converted.Types {
		a.known[def.Name] = def.Atom
	}
	atom, ok := a.known[name]
	if !ok {
		return smd.Atom{}, fmt.Errorf("no schema of %s", name)
	}
	return atom, nil
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
