// Package discovery has the resources of the API group discovery.k8s.io: names, defaults, validation,
// columns and update rules.
package discovery

import (
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "discovery.k8s.io", Version: "v1", Kind: "EndpointSlice",
			Plural: "endpointslices", Singular: "endpointslice",
			Namespaced:    true,
			New:           func() runtime.Object { return new(discoveryv1.EndpointSlice) },
			NewList:       func() runtime.Object { return new(discoveryv1.EndpointSliceList) },
			StoragePrefix: "endpointslices",
			Strategy:      endpointSliceHooks.Erase(),
			Columns:       endpointSliceColumns(),
			Row:           scheme.Rows(endpointSliceRow),
		},
	}
}
