package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func podTemplateResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "PodTemplate",
		Plural: "podtemplates", Singular: "podtemplate",
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.PodTemplate) },
		NewList:       func() runtime.Object { return new(corev1.PodTemplateList) },
		StoragePrefix: "podtemplates",
	}
}
