package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func serviceAccountResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "ServiceAccount",
		Plural: "serviceaccounts", Singular: "serviceaccount",
		ShortNames:    []string{"sa"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.ServiceAccount) },
		NewList:       func() runtime.Object { return new(corev1.ServiceAccountList) },
		StoragePrefix: "serviceaccounts",
		Subresources: []scheme.Subresource{
			{Name: "token", Group: "authentication.k8s.io", Version: "v1", Kind: "TokenRequest", Verbs: []string{"create"}},
		},
	}
}
