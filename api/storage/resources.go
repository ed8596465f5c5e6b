// Package storage has the resources of the API group storage.k8s.io: names, defaults, validation,
// columns and update rules.
package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	storagev1beta1 "k8s.io/api/storage/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/api/version"
)

const group = "storage.k8s.io"

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: group, Version: "v1", Kind: "CSIDriver",
			Plural: "csidrivers", Singular: "csidriver",
			New:           func() runtime.Object { return new(storagev1.CSIDriver) },
			NewList:       func() runtime.Object { return new(storagev1.CSIDriverList) },
			StoragePrefix: "csidrivers",
			Strategy:      csiDriverHooks.Erase(),
			Columns:       csiDriverColumns(),
			Row:           scheme.Rows(csiDriverRow),
		},
		{
			Group: group, Version: "v1", Kind: "CSINode",
			Plural: "csinodes", Singular: "csinode",
			New:           func() runtime.Object { return new(storagev1.CSINode) },
			NewList:       func() runtime.Object { return new(storagev1.CSINodeList) },
			StoragePrefix: "csinodes",
			Strategy:      csiNodeHooks.Erase(),
			Columns:       csiNodeColumns(),
			Row:           scheme.Rows(csiNodeRow),
		},
		{
			Group: group, Version: "v1", Kind: "CSIStorageCapacity",
			Plural: "csistoragecapacities", Singular: "csistoragecapacity",
			Namespaced:    true,
			New:           func() runtime.Object { return new(storagev1.CSIStorageCapacity) },
			NewList:       func() runtime.Object { return new(storagev1.CSIStorageCapacityList) },
			StoragePrefix: "csistoragecapacities",
			Strategy:      capacityHooks.Erase(),
		},
		{
			Group: group, Version: "v1", Kind: "StorageClass",
			Plural: "storageclasses", Singular: "storageclass",
			ShortNames:    []string{"sc"},
			New:           func() runtime.Object { return new(storagev1.StorageClass) },
			NewList:       func() runtime.Object { return new(storagev1.StorageClassList) },
			StoragePrefix: "storageclasses",
			Strategy:      storageClassHooks.Erase(),
			Columns:       storageClassColumns(),
			Row:           scheme.Rows(storageClassRow),
		},
		{
			Group: group, Version: "v1", Kind: "VolumeAttachment",
			Plural: "volumeattachments", Singular: "volumeattachment",
			New:           func() runtime.Object { return new(storagev1.VolumeAttachment) },
			NewList:       func() runtime.Object { return new(storagev1.VolumeAttachmentList) },
			StoragePrefix: "volumeattachments",
			Strategy:      attachmentHooks.Erase(),
			Columns:       attachmentColumns(),
			Row:           scheme.Rows(attachmentRow),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: attachmentStatusHooks.Pointer()},
			},
		},
		{
			Group: group, Version: "v1", Kind: "VolumeAttributesClass",
			Plural: "volumeattributesclasses", Singular: "volumeattributesclass",
			ShortNames:    []string{"vac"},
			New:           func() runtime.Object { return new(storagev1.VolumeAttributesClass) },
			NewList:       func() runtime.Object { return new(storagev1.VolumeAttributesClassList) },
			StoragePrefix: "volumeattributesclasses",
			Strategy:      attributesClassHooks.Erase(),
			Columns:       attributesClassColumns(),
			Row:           scheme.Rows(attributesClassRow),
			Stored: []scheme.Version{
				version.WireEqual[storagev1beta1.VolumeAttributesClass, storagev1beta1.VolumeAttributesClassList, storagev1.VolumeAttributesClass](group, "v1beta1"),
			},
		},
	}
}
