// Package catalog is which resources there are: those built in, and those that
// CustomResourceDefinitions define. Collectors of garbage and namespaces work
// on all of them alike.
package catalog

import (
	"cmp"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/client/cache"
	pb "xebec.dev/proto/gen/control/v1"
)

// Resource is one kind of objects, at the version the server stores.
type Resource struct {
	Group, Version, Plural, Kind string
	Namespaced                   bool
}

// Wire is the resource's name in requests.
func (r Resource) Wire() *pb.Resource {
	return &pb.Resource{Group: r.Group, Version: r.Version, Resource: r.Plural}
}

// String is PLURAL.GROUP, as Kubernetes prints resources.
func (r Resource) String() string {
	return schema.GroupResource{Group: r.Group, Resource: r.Plural}.String()
}

// APIVersion is GROUP/VERSION.
func (r Resource) APIVersion() string {
	return schema.GroupVersion{Group: r.Group, Version: r.Version}.String()
}

// Catalog knows all resources.
type Catalog struct {
	builtin     []Resource
	scheme      *scheme.Scheme
	definitions *cache.Replica[*apiextensionsv1.CustomResourceDefinition]
}

// New makes a catalog; definitions is followed by somebody else.
func New(s *scheme.Scheme, definitions *cache.Replica[*apiextensionsv1.CustomResourceDefinition]) *Catalog {
	c := &Catalog{scheme: s, definitions: definitions}
	for _, r := range s.Resources() {
		if r.StoragePrefix == "" || !r.Can("list") || !r.Can("watch") || !r.Can("delete") {
			continue
		}
		c.builtin = append(c.builtin, Resource{Group: r.Group, Version: r.Version, Plural: r.Plural, Kind: r.Kind, Namespaced: r.Namespaced})
	}
	return c
}

// All are the resources there are now, ordered by name.
func (c *Catalog) All() []Resource {
	out := slices.Clone(c.builtin)
	for d := range c.definitions.Snapshot().All() {
		if r, ok := Defined(d); ok {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Resource) int { return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Plural, b.Plural)) })
	return out
}

// Defined is the resource of a definition; ok is false while it is not served.
func Defined(d *apiextensionsv1.CustomResourceDefinition) (Resource, bool) {
	established := slices.ContainsFunc(d.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
	i := slices.IndexFunc(d.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Storage })
	if !established || i < 0 {
		return Resource{}, false
	}
	return Resource{
		Group: d.Spec.Group, Version: d.Spec.Versions[i].Name, Plural: d.Spec.Names.Plural, Kind: d.Spec.Names.Kind,
		Namespaced: d.Spec.Scope == apiextensionsv1.NamespaceScoped,
	}, true
}

// Kind finds the resource of a kind, as owner references name it, at whatever
// version.
func (c *Catalog) Kind(apiVersion, kind string) (Resource, bool) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return Resource{}, false
	}
	if s, ok := c.scheme.Kind(gv.WithKind(kind)); ok {
		return Resource{Group: s.Group, Version: s.Version, Plural: s.Plural, Kind: s.Kind, Namespaced: s.Namespaced}, true
	}
	for _, r := range c.builtin {
		if r.Group == gv.Group && r.Kind == kind {
			return r, true
		}
	}
	for d := range c.definitions.Snapshot().All() {
		if r, ok := Defined(d); ok && r.Group == gv.Group && r.Kind == kind {
			return r, true
		}
	}
	return Resource{}, false
}
