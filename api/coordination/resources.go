// Package coordination has the resources of the API group coordination.k8s.io: names, defaults, validation,
// columns and update rules.
package coordination

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "coordination.k8s.io", Version: "v1", Kind: "Lease",
			Plural: "leases", Singular: "lease",
			Namespaced:    true,
			New:           func() runtime.Object { return new(coordinationv1.Lease) },
			NewList:       func() runtime.Object { return new(coordinationv1.LeaseList) },
			StoragePrefix: "leases",
			Columns:       columns(),
			Row:           scheme.Rows(row),
			Strategy:      hooks().Erase(),
		},
		candidates(),
	}
}
