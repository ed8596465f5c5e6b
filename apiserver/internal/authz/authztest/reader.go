// Package authztest has a storage.Reader over a few objects, for tests of
// authentication and authorization.
package authztest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
)

// Scheme is the built-in table, made once.
var Scheme = sync.OnceValue(builtin.Scheme)

// Reader is a storage.Reader that holds what Put gave it.
type Reader struct {
	mu      sync.Mutex
	objects map[*scheme.Resource]map[string]scheme.Object
	changed map[*scheme.Resource]int64
}

// NewReader makes a reader with objects in it.
func NewReader(objects ...scheme.Object) *Reader {
	r := &Reader{objects: map[*scheme.Resource]map[string]scheme.Object{}, changed: map[*scheme.Resource]int64{}}
	r.Put(objects...)
	return r
}

// Resource finds the table's resource for an object by its Go type.
func Resource(o scheme.Object) *scheme.Resource {
	for _, r := range Scheme().Resources() {
		if r.StoragePrefix != "" && reflect.TypeOf(r.New()) == reflect.TypeOf(o) {
			return r
		}
	}
	panic(fmt.Sprintf("no resource for %T", o))
}

func id(namespace, name string) string { return namespace + "/" + name }

// Put stores objects; each must be a new pointer.
func (r *Reader) Put(objects ...scheme.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range objects {
		res := Resource(o)
		if r.objects[res] == nil {
			r.objects[res] = map[string]scheme.Object{}
		}
		r.objects[res][id(o.GetNamespace(), o.GetName())] = o
		r.changed[res]++
	}
}

// Remove deletes objects.
func (r *Reader) Remove(objects ...scheme.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range objects {
		res := Resource(o)
		delete(r.objects[res], id(o.GetNamespace(), o.GetName()))
		r.changed[res]++
	}
}

// Get implements storage.Reader.
func (r *Reader) Get(res *scheme.Resource, namespace, name string) (scheme.Object, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.objects[res][id(namespace, name)]
	return o, ok
}

// List implements storage.Reader.
func (r *Reader) List(res *scheme.Resource, namespace string) []scheme.Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []scheme.Object
	for _, o := range r.objects[res] {
		if namespace == "" || o.GetNamespace() == namespace {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b scheme.Object) int {
		return strings.Compare(id(a.GetNamespace(), a.GetName()), id(b.GetNamespace(), b.GetName()))
	})
	return out
}

// ListByField implements storage.Reader for string fields.
func (r *Reader) ListByField(res *scheme.Resource, label, value string) []scheme.Object {
	return slices.DeleteFunc(r.List(res, ""), func(o scheme.Object) bool { return field(o, label) != value })
}

// field finds a value by its JSON path.
func field(o scheme.Object, path string) string {
	v := reflect.ValueOf(o).Elem()
	for _, part := range strings.Split(path, ".") {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return ""
			}
			v = v.Elem()
		}
		v = v.FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, part) })
		if !v.IsValid() {
			return ""
		}
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	return v.String()
}

// Changed implements storage.Reader.
func (r *Reader) Changed(res *scheme.Resource) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed[res]
}
