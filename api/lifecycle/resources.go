// Package lifecycle has the resources of the API group lifecycle.k8s.io: names, validation and update rules.
package lifecycle

import (
	"k8s.io/api/lifecycle/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/api/version"
)

const group = "lifecycle.k8s.io"

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: group, Version: "v1alpha1", Kind: "EvictionRequest",
			Plural: "evictionrequests", Singular: "evictionrequest",
			Namespaced:    true,
			New:           func() runtime.Object { return new(v1alpha1.EvictionRequest) },
			NewList:       func() runtime.Object { return new(v1alpha1.EvictionRequestList) },
			Served:        []scheme.Version{version.Off(version.Own(group, "v1alpha1", &v1alpha1.EvictionRequest{}))},
			StoragePrefix: "evictionrequests",
			Strategy:      requestHooks.Erase(),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: requestStatusHooks.Pointer()},
			},
		},
		{
			Group: group, Version: "v1alpha1", Kind: "Eviction",
			Plural: "evictions", Singular: "eviction",
			Namespaced:    true,
			New:           func() runtime.Object { return new(v1alpha1.Eviction) },
			NewList:       func() runtime.Object { return new(v1alpha1.EvictionList) },
			Served:        []scheme.Version{version.Off(version.Own(group, "v1alpha1", &v1alpha1.Eviction{}))},
			StoragePrefix: "evictions",
			Strategy:      evictionHooks.Erase(),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: evictionStatusHooks.Pointer()},
			},
		},
	}
}
