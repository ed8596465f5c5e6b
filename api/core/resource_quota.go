package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func resourceQuotaResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "ResourceQuota",
		Plural: "resourcequotas", Singular: "resourcequota",
		ShortNames:    []string{"quota"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.ResourceQuota) },
		NewList:       func() runtime.Object { return new(corev1.ResourceQuotaList) },
		StoragePrefix: "resourcequotas",
		Subresources: []scheme.Subresource{
			{Name: "status", Verbs: []string{"get", "patch", "update"}},
		},
	}
}
