package patch

import (
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
)

// resource is a table entry's versions.
type resource struct{ scheme.Served }

func (r resource) kind(v scheme.Version) schema.GroupVersionKind {
	kind := v.Kind
	if kind == "" {
		kind = r.Kind
	}
	return schema.GroupVersionKind{Group: v.Group, Version: v.Version, Kind: kind}
}

func (r resource) newAt(v scheme.Version) func() runtime.Object {
	if v.New != nil {
		return v.New
	}
	return r.New
}

func (r resource) version(gvk schema.GroupVersionKind) (scheme.Version, bool) {
	for _, v := range r.ServedVersions() {
		if r.kind(v) == gvk {
			return v, true
		}
	}
	return scheme.Version{}, false
}

func (r resource) others(gvk schema.GroupVersionKind) func() runtime.Object {
	v, ok := r.version(gvk)
	if !ok {
		return nil
	}
	return r.newAt(v)
}

// stored defaults an object, whose kind says its version, and makes it one of
// the storage type.
func (r resource) stored(in runtime.Object) (scheme.Object, error) {
	v, ok := r.version(in.GetObjectKind().GroupVersionKind())
	if !ok {
		v = r.At
	}
	if v.Default != nil {
		v.Default(in)
	}
	if v.Decode != nil {
		out, err := v.Decode(in)
		if err != nil {
			return nil, err
		}
		in = out
	}
	if r.Strategy.Default != nil {
		r.Strategy.Default(in)
	}
	in.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
	return in.(scheme.Object), nil
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
