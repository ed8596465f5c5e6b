package fieldmanager

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
)

// hub names the storage type as the library's conversion hub, apart from the
// storage version: an object of the hub may be one of Go's storage type
// without its kind set.
const hub = runtime.APIVersionInternal

// converter converts objects between the versions of one resource, for the
// merge library. Converted objects share memory with their source; nobody
// changes them.
type converter struct{ res *scheme.Resource }

// ConvertToVersion converts to a served version, or to the hub.
func (c converter) ConvertToVersion(in runtime.Object, target runtime.GroupVersioner) (runtime.Object, error) {
	gv, ok := target.(schema.GroupVersion)
	if !ok {
		return nil, fmt.Errorf("cannot convert to %v", target)
	}
	if gv.Version == hub {
		return c.toHub(in)
	}
	to, ok := c.version(gv)
	if !ok {
		return nil, runtime.NewNotRegisteredErrForKind("resource", gv.WithKind(c.res.Kind))
	}
	if u, ok := in.(*unstructured.Unstructured); ok {
		return c.fromUnstructured(u, to)
	}
	if reflect.TypeOf(in) == reflect.TypeOf(c.newAt(to)) {
		return withKind(in, c.kind(to)), nil
	}
	stored, err := c.toHub(in)
	if err != nil {
		return nil, err
	}
	if to.Encode == nil {
		return nil, fmt.Errorf("%v has no conversion to %s/%s", c.res.Kind, to.Group, to.Version)
	}
	out, err := to.Encode(stored.(scheme.Object))
	if err != nil {
		return nil, err
	}
	return withKind(out, c.kind(to)), nil
}

// toHub makes an object of the storage type.
func (c converter) toHub(in runtime.Object) (runtime.Object, error) {
	if u, ok := in.(*unstructured.Unstructured); ok {
		from, ok := c.version(u.GroupVersionKind().GroupVersion())
		if !ok {
			return nil, runtime.NewNotRegisteredErrForKind("resource", u.GroupVersionKind())
		}
		obj, err := c.fromUnstructured(u, from)
		if err != nil {
			return nil, err
		}
		in = obj
	}
	if _, ok := in.(scheme.Object); ok && reflect.TypeOf(in) == reflect.TypeOf(c.res.New()) {
		return in, nil
	}
	for _, v := range c.res.ServedVersions() {
		if v.Decode != nil && reflect.TypeOf(in) == reflect.TypeOf(v.New()) {
			return v.Decode(in)
		}
	}
	return nil, fmt.Errorf("%T is not a version of %s", in, c.res.Kind)
}

func (c converter) fromUnstructured(u *unstructured.Unstructured, to scheme.Version) (runtime.Object, error) {
	from := u.GroupVersionKind().GroupVersion()
	at, ok := c.version(from)
	if !ok {
		return nil, runtime.NewNotRegisteredErrForKind("resource", u.GroupVersionKind())
	}
	obj := c.newAt(at)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, obj); err != nil {
		return nil, err
	}
	if at.Group == to.Group && at.Version == to.Version {
		return withKind(obj, c.kind(to)), nil
	}
	return c.ConvertToVersion(obj, schema.GroupVersion{Group: to.Group, Version: to.Version})
}

func (c converter) version(gv schema.GroupVersion) (scheme.Version, bool) {
	for _, v := range c.res.ServedVersions() {
		if v.Group == gv.Group && v.Version == gv.Version {
			return v, true
		}
	}
	return scheme.Version{}, false
}

func (c converter) newAt(v scheme.Version) runtime.Object {
	if v.New != nil {
		return v.New()
	}
	return c.res.New()
}

func (c converter) kind(v scheme.Version) schema.GroupVersionKind {
	kind := v.Kind
	if kind == "" {
		kind = c.res.Kind
	}
	return schema.GroupVersionKind{Group: v.Group, Version: v.Version, Kind: kind}
}

// withKind is obj with its kind set: itself, or a shallow copy when that
// would change it.
func withKind(obj runtime.Object, gvk schema.GroupVersionKind) runtime.Object {
	if obj.GetObjectKind().GroupVersionKind() == gvk {
		return obj
	}
	v := reflect.New(reflect.TypeOf(obj).Elem())
	v.Elem().Set(reflect.ValueOf(obj).Elem())
	out := v.Interface().(runtime.Object)
	out.GetObjectKind().SetGroupVersionKind(gvk)
	return out
}

// Default sets the defaults of the object's version.
func (c converter) Default(obj runtime.Object) {
	at, ok := c.version(obj.GetObjectKind().GroupVersionKind().GroupVersion())
	switch {
	case !ok:
	case at.Default != nil:
		at.Default(obj)
	case at.New == nil && c.res.Strategy.Default != nil:
		c.res.Strategy.Default(obj)
	}
}

// New makes an empty object of a served kind.
func (c converter) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	at, ok := c.version(gvk.GroupVersion())
	if !ok {
		return nil, runtime.NewNotRegisteredErrForKind("resource", gvk)
	}
	return withKind(c.newAt(at), gvk), nil
}

// Convert and ConvertFieldLabel complete runtime.ObjectConvertor; the library
// does not call them.
func (c converter) Convert(in, out, context any) error {
	return fmt.Errorf("cannot convert %T to %T", in, out)
}

func (c converter) ConvertFieldLabel(gvk schema.GroupVersionKind, label, value string) (string, string, error) {
	return "", "", fmt.Errorf("field label %q of %v is not known", label, gvk)
}
