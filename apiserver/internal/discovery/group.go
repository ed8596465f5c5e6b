// Package discovery tells clients which groups, versions and resources there
// are: the legacy documents at /api, /apis and below, and the aggregated one.
//
// Documents are pure functions of a list of groups; a Handler keeps their
// bytes until the groups change.
package discovery

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiversion "k8s.io/apimachinery/pkg/version"

	"xebec.dev/api/scheme"
)

// Group is an API group.
type Group struct {
	Name string
	// Priority orders groups, highest first; groups of one priority go by name.
	Priority int32
	Versions []Version
}

// Version is one version of a group.
type Version struct {
	Name string
	// Priority orders versions, highest first; versions of one priority go by
	// Kubernetes' rule: v2, v1, v1beta1, v1alpha1.
	Priority int32
	// Stale is true when the resources are of an aggregated server that does
	// not answer.
	Stale     bool
	Resources []Resource
}

// Resource is a resource at a version.
type Resource struct {
	Plural, Singular, Kind string
	// ListKind is "" for what cannot be listed.
	ListKind               string
	ShortNames, Categories []string
	Namespaced             bool
	Verbs                  []string
	// StorageHash tells clients when the storage version has changed; "" for
	// what is not stored.
	StorageHash string
	// Group and Version of the kind, when they are not those it is listed under.
	Group, Version string
	Subresources   []Subresource
}

// Subresource is one of a resource's subresources.
type Subresource struct {
	Name, Kind string
	// Group and Version of the kind, when they are not those it is listed under.
	Group, Version string
	Verbs          []string
}

// FromScheme lists what a table serves. served reports whether a resource is
// on at a version. Groups of nothing are left out.
func FromScheme(s *scheme.Scheme, served func(gv schema.GroupVersion, resource string) bool) []Group {
	versions := map[schema.GroupVersion][]Resource{}
	for _, r := range s.Resources() {
		for _, v := range r.ServedVersions() {
			gv := schema.GroupVersion{Group: v.Group, Version: v.Version}
			if served(gv, r.Plural) {
				versions[gv] = append(versions[gv], resource(r, v))
			}
		}
	}
	groups := map[string]*Group{}
	for gv, resources := range versions {
		g := groups[gv.Group]
		if g == nil {
			g = &Group{Name: gv.Group, Priority: GroupPriority(gv.Group)}
			groups[gv.Group] = g
		}
		g.Versions = append(g.Versions, Version{Name: gv.Version, Priority: VersionPriority(gv), Resources: resources})
	}
	out := make([]Group, 0, len(groups))
	for _, g := range groups {
		out = append(out, *g)
	}
	return Order(out)
}

// Order sorts groups, their versions and resources as they are listed. It
// changes its argument.
func Order(groups []Group) []Group {
	for _, g := range groups {
		slices.SortFunc(g.Versions, func(a, b Version) int {
			return cmp.Or(cmp.Compare(b.Priority, a.Priority), apiversion.CompareKubeAwareVersionStrings(b.Name, a.Name))
		})
		for _, v := range g.Versions {
			slices.SortFunc(v.Resources, func(a, b Resource) int { return cmp.Compare(a.Plural, b.Plural) })
		}
	}
	slices.SortFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Name, b.Name))
	})
	return groups
}

func resource(r *scheme.Resource, v scheme.Version) Resource {
	out := Resource{
		Plural: r.Plural, Singular: r.Singular, Kind: cmp.Or(v.Kind, r.Kind),
		ShortNames: r.ShortNames, Categories: r.Categories, Namespaced: r.Namespaced, Verbs: r.Verbs,
	}
	if r.NewList != nil {
		out.ListKind = r.Lists()
	}
	if len(out.Verbs) == 0 {
		out.Verbs = scheme.StandardVerbs
	}
	if r.StoragePrefix != "" {
		gvk := r.GroupVersionKind()
		gvk.Version = cmp.Or(r.HashVersion, gvk.Version)
		out.StorageHash = StorageHash(gvk)
	}
	for i := range r.Subresources {
		out.Subresources = append(out.Subresources, subresource(&r.Subresources[i], out.Kind, v))
	}
	return out
}

func subresource(s *scheme.Subresource, parent string, v scheme.Version) Subresource {
	if s.Kind == "" {
		return Subresource{Name: s.Name, Kind: parent, Verbs: s.Verbs}
	}
	out := Subresource{Name: s.Name, Kind: s.Kind, Verbs: s.Verbs}
	if s.Group != v.Group || s.Version != v.Version {
		out.Group, out.Version = s.Group, s.Version
	}
	return out
}

// StorageHash is the storageVersionHash of a kind.
func StorageHash(gvk schema.GroupVersionKind) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%s", gvk.Group, gvk.Version, gvk.Kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
}

// resourceList is the legacy document of a version.
func resourceList(group string, v Version) *metav1.APIResourceList {
	list := &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList"},
		GroupVersion: schema.GroupVersion{Group: group, Version: v.Name}.String(),
		APIResources: []metav1.APIResource{},
	}
	if group != "" {
		// Kubernetes leaves the core group's without; clients cope with both.
		list.APIVersion = "v1"
	}
	for _, r := range v.Resources {
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: r.Plural, SingularName: r.Singular, Namespaced: r.Namespaced, Group: r.Group, Version: r.Version, Kind: r.Kind,
			Verbs: r.Verbs, ShortNames: r.ShortNames, Categories: r.Categories, StorageVersionHash: r.StorageHash,
		})
		for _, s := range r.Subresources {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: r.Plural + "/" + s.Name, Namespaced: r.Namespaced, Group: s.Group, Version: s.Version, Kind: s.Kind, Verbs: s.Verbs,
			})
		}
	}
	return list
}

// legacyGroup is the legacy document of a group, as it appears in the list.
func legacyGroup(g Group) metav1.APIGroup {
	out := metav1.APIGroup{Name: g.Name}
	for _, v := range g.Versions {
		out.Versions = append(out.Versions, metav1.GroupVersionForDiscovery{
			GroupVersion: schema.GroupVersion{Group: g.Name, Version: v.Name}.String(), Version: v.Name,
		})
	}
	if len(out.Versions) > 0 {
		out.PreferredVersion = out.Versions[0]
	}
	return out
}

// aggregated is one group of the aggregated document.
func aggregated(g Group) apidiscovery.APIGroupDiscovery {
	out := apidiscovery.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.Name}}
	for _, v := range g.Versions {
		version := apidiscovery.APIVersionDiscovery{Version: v.Name, Freshness: apidiscovery.DiscoveryFreshnessCurrent}
		if v.Stale {
			version.Freshness = apidiscovery.DiscoveryFreshnessStale
		}
		for _, r := range v.Resources {
			version.Resources = append(version.Resources, aggregatedResource(r))
		}
		out.Versions = append(out.Versions, version)
	}
	return out
}

func aggregatedResource(r Resource) apidiscovery.APIResourceDiscovery {
	out := apidiscovery.APIResourceDiscovery{
		Resource: r.Plural, SingularResource: r.Singular, Scope: apidiscovery.ScopeCluster,
		ResponseKind: &metav1.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind},
		Verbs:        r.Verbs, ShortNames: r.ShortNames, Categories: r.Categories,
	}
	if r.Namespaced {
		out.Scope = apidiscovery.ScopeNamespace
	}
	for _, s := range r.Subresources {
		out.Subresources = append(out.Subresources, apidiscovery.APISubresourceDiscovery{
			Subresource: s.Name, Verbs: s.Verbs,
			ResponseKind: &metav1.GroupVersionKind{Group: s.Group, Version: s.Version, Kind: s.Kind},
		})
	}
	return out
}
