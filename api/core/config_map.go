package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func configMapResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "ConfigMap",
		Plural: "configmaps", Singular: "configmap",
		ShortNames:    []string{"cm"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.ConfigMap) },
		NewList:       func() runtime.Object { return new(corev1.ConfigMapList) },
		StoragePrefix: "configmaps",
	}
}
