package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func secretResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Secret",
		Plural: "secrets", Singular: "secret",
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.Secret) },
		NewList:       func() runtime.Object { return new(corev1.SecretList) },
		StoragePrefix: "secrets",
	}
}
