// Package resource has the resources of the API group resource.k8s.io: names, defaults, validation,
// columns and update rules.
package resource

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "resource.k8s.io", Version: "v1", Kind: "DeviceClass",
			Plural: "deviceclasses", Singular: "deviceclass",
			New:           func() runtime.Object { return new(resourcev1.DeviceClass) },
			NewList:       func() runtime.Object { return new(resourcev1.DeviceClassList) },
			StoragePrefix: "deviceclasses",
		},
		{
			Group: "resource.k8s.io", Version: "v1", Kind: "ResourceClaim",
			Plural: "resourceclaims", Singular: "resourceclaim",
			Namespaced:    true,
			New:           func() runtime.Object { return new(resourcev1.ResourceClaim) },
			NewList:       func() runtime.Object { return new(resourcev1.ResourceClaimList) },
			StoragePrefix: "resourceclaims",
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}},
			},
		},
		{
			Group: "resource.k8s.io", Version: "v1", Kind: "ResourceClaimTemplate",
			Plural: "resourceclaimtemplates", Singular: "resourceclaimtemplate",
			Namespaced:    true,
			New:           func() runtime.Object { return new(resourcev1.ResourceClaimTemplate) },
			NewList:       func() runtime.Object { return new(resourcev1.ResourceClaimTemplateList) },
			StoragePrefix: "resourceclaimtemplates",
		},
		{
			Group: "resource.k8s.io", Version: "v1", Kind: "ResourceSlice",
			Plural: "resourceslices", Singular: "resourceslice",
			New:           func() runtime.Object { return new(resourcev1.ResourceSlice) },
			NewList:       func() runtime.Object { return new(resourcev1.ResourceSliceList) },
			StoragePrefix: "resourceslices",
		},
	}
}
