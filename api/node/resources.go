// Package node has the resources of the API group node.k8s.io: names, defaults, validation,
// columns and update rules.
package node

import (
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "node.k8s.io", Version: "v1", Kind: "RuntimeClass",
			Plural: "runtimeclasses", Singular: "runtimeclass",
			New:           func() runtime.Object { return new(nodev1.RuntimeClass) },
			NewList:       func() runtime.Object { return new(nodev1.RuntimeClassList) },
			StoragePrefix: "runtimeclasses",
			Columns:       columns(),
			Row:           scheme.Rows(row),
			Strategy:      hooks().Erase(),
		},
	}
}
