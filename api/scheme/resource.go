// Package scheme is the table of every resource an API server serves: what it
// is called, how it is stored, and the pure functions that default, validate
// and shape its objects on the way to storage.
//
// The table is built explicitly (see package builtin); nothing registers
// itself. Everything here is pure: no I/O, goroutine, lock or clock.
package scheme

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Resource describes one resource. Group, Version and Kind are those of the
// storage version, whose Go type is the only one the server works with;
// other served versions convert at the edge (see Version).
type Resource struct {
	Group   string
	Version string
	Kind    string

	// ListKind is Kind+"List" when empty.
	ListKind   string
	Plural     string
	Singular   string
	ShortNames []string
	Categories []string
	Namespaced bool

	// Verbs in discovery order. Empty means all of StandardVerbs.
	Verbs []string

	// New and NewList make empty objects of the storage type. NewList is nil
	// for kinds that are only created (reviews, bindings).
	New     func() runtime.Object
	NewList func() runtime.Object

	// Served lists every version the resource is offered at, preferred first.
	// Empty means the storage version alone, on by default.
	Served []Version
	// Stored lists versions that objects may be found stored at and that are
	// not served any more; only New and Decode count.
	Stored []Version
	// HashVersion is the version that the storageVersionHash of discovery
	// stands for, when clients know another than Version from Kubernetes.
	HashVersion string

	// StoragePrefix is the path below the etcd prefix: "pods",
	// "services/specs". A key is PREFIX/StoragePrefix/[NAMESPACE/]NAME.
	// Empty means the resource is not stored (reviews).
	StoragePrefix string

	// TTLSeconds, when not 0, is how long an object lives after its last
	// write unless the server is told otherwise (events: --event-ttl).
	TTLSeconds int64

	// Fields are the field selector labels beyond metadata.name and
	// metadata.namespace.
	Fields []SelectableField

	// UnknownField is the text, with %s or %q for the label, that refuses a
	// field selector label; empty is the usual one.
	UnknownField string

	// Columns of the Table form after kubectl's own; nil means Name and Age
	// ("Created At"). Row yields one cell per column.
	Columns []metav1.TableColumnDefinition
	Row     func(obj runtime.Object, now metav1.Time) []any
	// RowConditions marks rows (a pod that has completed); nil marks none.
	RowConditions func(obj runtime.Object) []metav1.TableRowCondition

	// Strategy is the behaviour of the main resource.
	Strategy Strategy

	// Subresources in discovery order.
	Subresources []Subresource
}

// StandardVerbs are the verbs of an ordinary stored resource.
var StandardVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// Version is one served version of a resource.
type Version struct {
	Group   string
	Version string
	// Kind is the resource's Kind when empty.
	Kind string
	// OffByDefault versions are served only when --runtime-config says so.
	OffByDefault bool
	// New and NewList make objects of this version's own Go type. Nil for the
	// storage version.
	New     func() runtime.Object
	NewList func() runtime.Object
	// Decode converts an object of this version into a new storage object,
	// Encode the other way. Nil for the storage version.
	Decode func(in runtime.Object) (Object, error)
	Encode func(in Object) (runtime.Object, error)
	// Fields replaces Resource.Fields at this version: its field selector
	// labels may differ. Nil means the same.
	Fields []SelectableField
	// Default sets this version's own defaults before Decode. Nil when the
	// storage type's defaults are enough.
	Default func(in runtime.Object)
	// ValidateCreate and ValidateUpdate replace those of the strategy for
	// requests at this version. Nil means the same.
	ValidateCreate func(obj runtime.Object) field.ErrorList
	ValidateUpdate func(obj, old runtime.Object) field.ErrorList
	// Deprecated is a warning that goes with every answer at this version.
	Deprecated string
}

// SelectableField is a field selector label and where its value is found.
type SelectableField struct {
	// Label is the selector's word, for example "spec.nodeName".
	Label string
	// Path is the JSON path of the value in the storage type, the same as
	// Label when empty. Alternatives after the first are tried when the value
	// so far is empty: {"reportingComponent", "source.component"}.
	Path []string
	// IfEmpty is the value when the field is unset or zero: "false" for
	// spec.unschedulable, "0" for status.replicas, "Active" for nothing.
	IfEmpty string
}

// Subresource describes one subresource in discovery. Object-shaped ones
// (status, ephemeralcontainers, resize, approval, finalize) carry Update;
// the rest have code of their own in the API server.
type Subresource struct {
	Name string
	// Group, Version, Kind of the body; the parent's when Kind is empty.
	Group   string
	Version string
	Kind    string
	Verbs   []string
	// Update is nil when the subresource is not an update of the parent.
	Update *UpdateStrategy
	// Scale is set on "scale".
	Scale *Scale
}

// GroupVersionKind of the storage version.
func (r *Resource) GroupVersionKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
}

// GroupResource is how the resource is named in errors and authorization.
func (r *Resource) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Plural}
}

// ServedVersions is Served, or the storage version alone.
func (r *Resource) ServedVersions() []Version {
	if len(r.Served) > 0 {
		return r.Served
	}
	return []Version{{Group: r.Group, Version: r.Version}}
}

// UnknownFieldLabel is the text that refuses a field selector label.
func (r *Resource) UnknownFieldLabel(label string) string {
	if r.UnknownField != "" {
		return fmt.Sprintf(r.UnknownField, label)
	}
	return "field label not supported: " + label
}

// Lists is the kind of a list of this resource.
func (r *Resource) Lists() string {
	if r.ListKind != "" {
		return r.ListKind
	}
	return r.Kind + "List"
}

// Can reports whether the main resource has the verb.
func (r *Resource) Can(verb string) bool {
	verbs := r.Verbs
	if len(verbs) == 0 {
		verbs = StandardVerbs
	}
	for _, v := range verbs {
		if v == verb {
			return true
		}
	}
	return false
}

// Subresource finds a subresource by name; nil if there is none.
func (r *Resource) Subresource(name string) *Subresource {
	for i := range r.Subresources {
		if r.Subresources[i].Name == name {
			return &r.Subresources[i]
		}
	}
	return nil
}
