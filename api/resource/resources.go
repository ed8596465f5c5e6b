// Package resource has the resources of the API group resource.k8s.io: names, defaults, validation,
// columns and update rules.
package resource

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

const group = "resource.k8s.io"

// Resources is the group's part of the table, with CEL expressions stored as
// they come.
func Resources() []scheme.Resource { return ResourcesWith(nil) }

// ResourcesWith is Resources with CEL expressions checked by compile.
func ResourcesWith(compile CompileExpression) []scheme.Resource {
	v := validator{compile}
	return []scheme.Resource{
		{
			Group: group, Version: "v1", Kind: "DeviceClass",
			Plural: "deviceclasses", Singular: "deviceclass",
			New:           func() runtime.Object { return new(resourcev1.DeviceClass) },
			NewList:       func() runtime.Object { return new(resourcev1.DeviceClassList) },
			Served:        classVersions(),
			StoragePrefix: "deviceclasses",
			Strategy:      v.classHooks().Erase(),
			Columns:       plainColumns(),
			Row:           scheme.Rows(classRow),
		},
		{
			Group: group, Version: "v1", Kind: "ResourceClaim",
			Plural: "resourceclaims", Singular: "resourceclaim",
			Namespaced:    true,
			New:           func() runtime.Object { return new(resourcev1.ResourceClaim) },
			NewList:       func() runtime.Object { return new(resourcev1.ResourceClaimList) },
			Served:        claimVersions(),
			StoragePrefix: "resourceclaims",
			Strategy:      v.claimHooks().Erase(),
			Columns:       claimColumns(),
			Row:           scheme.Rows(claimRow),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: claimStatusHooks.Pointer()},
			},
		},
		{
			Group: group, Version: "v1", Kind: "ResourceClaimTemplate",
			Plural: "resourceclaimtemplates", Singular: "resourceclaimtemplate",
			Namespaced:    true,
			New:           func() runtime.Object { return new(resourcev1.ResourceClaimTemplate) },
			NewList:       func() runtime.Object { return new(resourcev1.ResourceClaimTemplateList) },
			Served:        templateVersions(),
			StoragePrefix: "resourceclaimtemplates",
			Strategy:      v.templateHooks().Erase(),
			Columns:       plainColumns(),
			Row:           scheme.Rows(templateRow),
		},
		{
			Group: group, Version: "v1", Kind: "ResourceSlice",
			Plural: "resourceslices", Singular: "resourceslice",
			UnknownField:  "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: %s",
			New:           func() runtime.Object { return new(resourcev1.ResourceSlice) },
			NewList:       func() runtime.Object { return new(resourcev1.ResourceSliceList) },
			Served:        sliceVersions(),
			StoragePrefix: "resourceslices",
			Strategy:      sliceHooks.Erase(),
			Fields: []scheme.SelectableField{
				{Label: resourcev1.ResourceSliceSelectorNodeName}, {Label: resourcev1.ResourceSliceSelectorDriver}, {Label: resourcev1.ResourceSliceSelectorPoolName},
			},
			Columns: sliceColumns(),
			Row:     scheme.Rows(sliceRow),
		},
		taintRules(),
		poolRequests(),
	}
}
