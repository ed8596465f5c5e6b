package scheme

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Scheme is the table: an immutable set of resources.
type Scheme struct {
	resources []*Resource
	byGVR     map[schema.GroupVersionResource]Served
	byGVK     map[schema.GroupVersionKind]Served
	byGR      map[schema.GroupResource]*Resource
}

// Served is a resource at one of its versions.
type Served struct {
	*Resource
	At Version
}

// CreateRule is how a create at this version is validated; nil when nothing is.
func (s Served) CreateRule() func(obj runtime.Object) field.ErrorList {
	if s.At.ValidateCreate != nil {
		return s.At.ValidateCreate
	}
	return s.Strategy.ValidateCreate
}

// UpdateRule is how an update of the main resource at this version is
// validated; nil when nothing is.
func (s Served) UpdateRule() func(obj, old runtime.Object) field.ErrorList {
	if s.At.ValidateUpdate != nil {
		return s.At.ValidateUpdate
	}
	return s.Strategy.ValidateUpdate
}

// New builds a table. It panics when two resources claim one name, which is a
// mistake in the program.
func New(sets ...[]Resource) *Scheme {
	s := &Scheme{
		byGVR: map[schema.GroupVersionResource]Served{},
		byGVK: map[schema.GroupVersionKind]Served{},
		byGR:  map[schema.GroupResource]*Resource{},
	}
	for _, set := range sets {
		for i := range set {
			s.add(&set[i])
		}
	}
	return s
}

func (s *Scheme) add(r *Resource) {
	s.resources = append(s.resources, r)
	for _, v := range r.ServedVersions() {
		if v.Kind == "" {
			v.Kind = r.Kind
		}
		gvr := schema.GroupVersionResource{Group: v.Group, Version: v.Version, Resource: r.Plural}
		if _, dup := s.byGVR[gvr]; dup {
			panic(fmt.Sprintf("scheme: %v is registered twice", gvr))
		}
		s.byGVR[gvr] = Served{r, v}
		gvk := schema.GroupVersionKind{Group: v.Group, Version: v.Version, Kind: v.Kind}
		if _, dup := s.byGVK[gvk]; !dup {
			s.byGVK[gvk] = Served{r, v}
		}
		s.byGR[schema.GroupResource{Group: v.Group, Resource: r.Plural}] = r
	}
}

// Resources lists the table in registration order.
func (s *Scheme) Resources() []*Resource { return slices.Clone(s.resources) }

// Resource finds a resource by any group and plural name it is served under.
func (s *Scheme) Resource(group, plural string) (*Resource, bool) {
	r, ok := s.byGR[schema.GroupResource{Group: group, Resource: plural}]
	return r, ok
}

// At finds a resource at a served version.
func (s *Scheme) At(gvr schema.GroupVersionResource) (Served, bool) {
	r, ok := s.byGVR[gvr]
	return r, ok
}

// Kind finds a resource by a served kind.
func (s *Scheme) Kind(gvk schema.GroupVersionKind) (Served, bool) {
	r, ok := s.byGVK[gvk]
	return r, ok
}
