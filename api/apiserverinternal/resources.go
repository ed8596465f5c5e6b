// Package apiserverinternal has the resources of the API group internal.apiserver.k8s.io: names, validation and
// update rules.
package apiserverinternal

import (
	"k8s.io/api/apiserverinternal/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
	"xebec.dev/api/version"
)

const group = "internal.apiserver.k8s.io"

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: group, Version: "v1alpha1", Kind: "StorageVersion",
			Plural: "storageversions", Singular: "storageversion",
			New:           func() runtime.Object { return new(v1alpha1.StorageVersion) },
			NewList:       func() runtime.Object { return new(v1alpha1.StorageVersionList) },
			Served:        []scheme.Version{version.Off(version.Own(group, "v1alpha1", &v1alpha1.StorageVersion{}))},
			StoragePrefix: "storageversions",
			Columns: []metav1.TableColumnDefinition{
				table.Name(),
				table.Field("CommonEncodingVersion", v1alpha1.StorageVersionStatus{}, "commonEncodingVersion"),
				table.String("StorageVersions", "The versions that each API server writes."),
				table.Age(),
			},
			Row:      scheme.Rows(row),
			Strategy: hooks.Erase(),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: statusHooks.Pointer()},
			},
		},
	}
}
