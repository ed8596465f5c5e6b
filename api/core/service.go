package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func serviceResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Service",
		Plural: "services", Singular: "service",
		ShortNames:    []string{"svc"},
		Categories:    []string{"all"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.Service) },
		NewList:       func() runtime.Object { return new(corev1.ServiceList) },
		StoragePrefix: "services/specs",
		Subresources: []scheme.Subresource{
			{Name: "proxy", Group: "", Version: "v1", Kind: "ServiceProxyOptions", Verbs: []string{"create", "delete", "get", "patch", "update"}},
			{Name: "status", Verbs: []string{"get", "patch", "update"}},
		},
	}
}
