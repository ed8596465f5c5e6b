package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func endpointsResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Endpoints",
		Plural: "endpoints", Singular: "endpoints",
		ShortNames:    []string{"ep"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.Endpoints) },
		NewList:       func() runtime.Object { return new(corev1.EndpointsList) },
		StoragePrefix: "services/endpoints",
	}
}
