// Package storage has the resources of the API group storage.k8s.io: names, defaults, validation,
// columns and update rules.
package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "storage.k8s.io", Version: "v1", Kind: "CSIDriver",
			Plural: "csidrivers", Singular: "csidriver",
			New:           func() runtime.Object { return new(storagev1.CSIDriver) },
			NewList:       func() runtime.Object { return new(storagev1.CSIDriverList) },
			StoragePrefix: "csidrivers",
		},
		{
			Group: "storage.k8s.io", Version: "v1", Kind: "CSINode",
			Plural: "csinodes", Singular: "csinode",
			New:           func() runtime.Object { return new(storagev1.CSINode) },
			NewList:       func() runtime.Object { return new(storagev1.CSINodeList) },
			StoragePrefix: "csinodes",
		},
		{
			Group: "storage.k8s.io", Version: "v1", Kind: "CSIStorageCapacity",
			Plural: "csistoragecapacities", Singular: "csistoragecapacity",
			Namespaced:    true,
			New:           func() runtime.Object { return new(storagev1.CSIStorageCapacity) },
			NewList:       func() runtime.Object { return new(storagev1.CSIStorageCapacityList) },
			StoragePrefix: "csistoragecapacities",
		},
		{
			Group: "storage.k8s.io", Version: "v1", Kind: "StorageClass",
			Plural: "storageclasses", Singular: "storageclass",
			ShortNames:    []string{"sc"},
			New:           func() runtime.Object { return new(storagev1.StorageClass) },
			NewList:       func() runtime.Object { return new(storagev1.StorageClassList) },
			StoragePrefix: "storageclasses",
		},
		{
			Group: "storage.k8s.io", Version: "v1", Kind: "VolumeAttachment",
			Plural: "volumeattachments", Singular: "volumeattachment",
			New:           func() runtime.Object { return new(storagev1.VolumeAttachment) },
			NewList:       func() runtime.Object { return new(storagev1.VolumeAttachmentList) },
			StoragePrefix: "volumeattachments",
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}},
			},
		},
		{
			Group: "storage.k8s.io", Version: "v1", Kind: "VolumeAttributesClass",
			Plural: "volumeattributesclasses", Singular: "volumeattributesclass",
			ShortNames:    []string{"vac"},
			New:           func() runtime.Object { return new(storagev1.VolumeAttributesClass) },
			NewList:       func() runtime.Object { return new(storagev1.VolumeAttributesClassList) },
			StoragePrefix: "volumeattributesclasses",
		},
	}
}
