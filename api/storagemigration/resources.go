// Package storagemigration has the resources of the API group storagemigration.k8s.io: names, validation and
// update rules.
package storagemigration

import (
	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/api/storagemigration/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
	"xebec.dev/api/version"
)

const group = "storagemigration.k8s.io"

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: group, Version: "v1beta1", Kind: "StorageVersionMigration",
			Plural: "storageversionmigrations", Singular: "storageversionmigration",
			New:     func() runtime.Object { return new(migration) },
			NewList: func() runtime.Object { return new(v1beta1.StorageVersionMigrationList) },
			Served: []scheme.Version{
				version.WireEqual[storagemigrationv1.StorageVersionMigration, storagemigrationv1.StorageVersionMigrationList, migration](group, "v1"),
				version.Off(version.Own(group, "v1beta1", &migration{})),
			},
			StoragePrefix: "storageversionmigrations",
			Columns:       []metav1.TableColumnDefinition{table.Name(), table.String("Resource", "The resource that is migrated."), table.Age()},
			Row:           scheme.Rows(row),
			Strategy:      hooks.Erase(),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: statusHooks.Pointer()},
			},
		},
	}
}
