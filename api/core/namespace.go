package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func namespaceResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Namespace",
		Plural: "namespaces", Singular: "namespace",
		ShortNames:    []string{"ns"},
		Verbs:         []string{"create", "delete", "get", "list", "patch", "update", "watch"},
		New:           func() runtime.Object { return new(corev1.Namespace) },
		NewList:       func() runtime.Object { return new(corev1.NamespaceList) },
		StoragePrefix: "namespaces",
		Subresources: []scheme.Subresource{
			{Name: "finalize", Verbs: []string{"update"}},
			{Name: "status", Verbs: []string{"get", "patch", "update"}},
		},
	}
}
