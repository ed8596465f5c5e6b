package fieldmanager

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"xebec.dev/api/openapi"
)

// CustomOptions describe a custom resource to NewCustom.
type CustomOptions struct {
	// Kind is the resource's at the version of the requests.
	Kind schema.GroupVersionKind
	// Schemas are the openAPIV3Schemas of all served versions as JSON, by the
	// version's name; nil is a version without one.
	Schemas map[string][]byte
	// Status is true when there is a status subresource.
	Status bool
	// Convert gives an object at another version. Nil changes apiVersion alone.
	Convert func(in *unstructured.Unstructured, version string) (*unstructured.Unstructured, error)
	// Default sets the defaults of the object's version; nil for none.
	Default func(obj *unstructured.Unstructured)
}

// Custom keeps the managedFields of a custom resource at one of its versions.
// It is safe for concurrent use.
type Custom struct {
	CustomOptions
	types managedfields.TypeConverter

	// mu guards fallback, by subresource.
	mu       sync.Mutex
	fallback map[string]*managedfields.FieldManager
}

// NewCustom makes the manager of a custom resource. Its error is a schema that
// cannot be read.
func NewCustom(o CustomOptions) (*Custom, error) {
	types, err := customTypes(o)
	if err != nil {
		return nil, err
	}
	return &Custom{CustomOptions: o, types: types, fallback: map[string]*managedfields.FieldManager{}}, nil
}

const objectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

// customTypes reads the schemas, with what every object has put in.
func customTypes(o CustomOptions) (managedfields.TypeConverter, error) {
	d := openapi.Load()
	models := map[string]*spec.Schema{}
	for _, name := range d.Closure(objectMeta) {
		s := &spec.Schema{}
		if err := json.Unmarshal(d.Schema(name), s); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", name, err)
		}
		models[name] = s
	}
	for version, data := range o.Schemas {
		s := &spec.Schema{}
		if data == nil {
			s.Type = spec.StringOrArray{"object"}
			s.AddExtension("x-kubernetes-preserve-unknown-fields", true)
		} else if err := json.Unmarshal(data, s); err != nil {
			return nil, fmt.Errorf("schema of %v at %s: %w", o.Kind.GroupKind(), version, err)
		}
		complete(s, true)
		s.AddExtension("x-kubernetes-group-version-kind", []any{map[string]any{"group": o.Kind.Group, "version": version, "kind": o.Kind.Kind}})
		models[o.Kind.Group+"."+version+"."+o.Kind.Kind] = s
	}
	return managedfields.NewTypeConverter(models, false)
}

// complete adds apiVersion, kind and metadata to objects: the outermost, and
// those marked as embedded resources.
func complete(s *spec.Schema, object bool) {
	if embedded, _ := s.Extensions.GetBool("x-kubernetes-embedded-resource"); embedded || object {
		s.SetProperty("apiVersion", *spec.StringProperty())
		s.SetProperty("kind", *spec.StringProperty())
		s.SetProperty("metadata", *spec.RefSchema("#/definitions/" + objectMeta))
	}
	for name, p := range s.Properties {
		complete(&p, false)
		s.Properties[name] = p
	}
	if s.Items != nil && s.Items.Schema != nil {
		complete(s.Items.Schema, false)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		complete(s.AdditionalProperties.Schema, false)
	}
}

func (c *Custom) lib(subresource string) (*managedfields.FieldManager, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.fallback[subresource]; ok {
		return f, nil
	}
	conv := customConverter{c}
	f, err := managedfields.NewDefaultCRDFieldManager(c.types, conv, conv, conv, c.Kind, c.Kind.GroupVersion(), subresource, c.resets(subresource))
	if err != nil {
		return nil, err
	}
	c.fallback[subresource] = f
	return f, nil
}

func (c *Custom) resets(subresource string) map[fieldpath.APIVersion]fieldpath.Filter {
	var filter fieldpath.Filter
	switch {
	case subresource == "" && c.Status:
		filter = fieldpath.NewExcludeSetFilter(fieldpath.NewSet(path("status")))
	case subresource == "status":
		filter = fieldpath.NewExcludeSetFilter(fieldpath.NewSet(path("spec")))
	default:
		return nil
	}
	filters := map[fieldpath.APIVersion]fieldpath.Filter{}
	for version := range c.Schemas {
		filters[fieldpath.APIVersion(schema.GroupVersion{Group: c.Kind.Group, Version: version}.String())] = filter
	}
	return filters
}

func (c *Custom) empty() *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(c.Kind)
	return u
}

// Create sets the managedFields of a new object.
func (c *Custom) Create(obj *unstructured.Unstructured, manager string, now time.Time) error {
	return c.Update(c.empty(), obj, manager, "", now)
}

// Update sets the managedFields of obj, which is to replace live; see
// Manager.Update. Both are at the version of the manager.
func (c *Custom) Update(live, obj *unstructured.Unstructured, manager, subresource string, now time.Time) error {
	lib, err := c.lib(subresource)
	if err != nil {
		return err
	}
	before, given, start := live.GetManagedFields(), obj.GetManagedFields(), time.Now()
	if _, err := lib.Update(live, obj, manager); err != nil {
		obj.SetManagedFields(before)
		return nil
	}
	stamp(obj, slices.Concat(before, given), start, now)
	return nil
}

// Apply merges an applied configuration into the live object, or into nothing
// when it is nil; see Manager.Apply.
func (c *Custom) Apply(live *unstructured.Unstructured, patch []byte, manager string, force bool, subresource string, now time.Time) (*unstructured.Unstructured, error) {
	config, err := configuration(patch)
	if err != nil {
		return nil, err
	}
	lib, err := c.lib(subresource)
	if err != nil {
		return nil, err
	}
	base := live
	if live == nil {
		base = c.empty()
	}
	start := time.Now()
	merged, err := lib.Apply(base, config, manager, force)
	if err != nil {
		return nil, err
	}
	obj, ok := merged.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("an apply gave a %T", merged)
	}
	stamp(obj, base.GetManagedFields(), start, now)
	if live != nil && sameButTimes(live.GetManagedFields(), obj.GetManagedFields()) && reflect.DeepEqual(withoutOwners(live), withoutOwners(obj)) {
		obj.SetManagedFields(live.GetManagedFields())
	}
	return obj, nil
}

// withoutOwners is an object's data without managedFields.
func withoutOwners(u *unstructured.Unstructured) map[string]any {
	c := u.DeepCopy()
	c.SetManagedFields(nil)
	return c.Object
}

// customConverter is what the library asks of custom resources.
type customConverter struct{ *Custom }

func (c customConverter) ConvertToVersion(in runtime.Object, target runtime.GroupVersioner) (runtime.Object, error) {
	u, ok := in.(*unstructured.Unstructured)
	gv, isVersion := target.(schema.GroupVersion)
	if !ok || !isVersion {
		return nil, fmt.Errorf("cannot convert %T to %v", in, target)
	}
	if u.GroupVersionKind().GroupVersion() == gv {
		return u, nil
	}
	if _, served := c.Schemas[gv.Version]; !served || gv.Group != c.Kind.Group {
		return nil, runtime.NewNotRegisteredErrForKind("custom", gv.WithKind(c.Kind.Kind))
	}
	if c.CustomOptions.Convert != nil {
		return c.CustomOptions.Convert(u, gv.Version)
	}
	out := u.DeepCopy()
	out.SetAPIVersion(gv.String())
	return out, nil
}

func (c customConverter) Default(obj runtime.Object) {
	if u, ok := obj.(*unstructured.Unstructured); ok && c.CustomOptions.Default != nil {
		c.CustomOptions.Default(u)
	}
}

func (c customConverter) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	u := c.empty()
	u.SetGroupVersionKind(gvk)
	return u, nil
}

func (c customConverter) Convert(in, out, context any) error {
	return fmt.Errorf("cannot convert %T to %T", in, out)
}

func (c customConverter) ConvertFieldLabel(gvk schema.GroupVersionKind, label, value string) (string, string, error) {
	return "", "", fmt.Errorf("field label %q of %v is not known", label, gvk)
}
