package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func replicationControllerResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "ReplicationController",
		Plural: "replicationcontrollers", Singular: "replicationcontroller",
		ShortNames:    []string{"rc"},
		Categories:    []string{"all"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.ReplicationController) },
		NewList:       func() runtime.Object { return new(corev1.ReplicationControllerList) },
		StoragePrefix: "controllers",
		Subresources: []scheme.Subresource{
			{Name: "scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Verbs: []string{"get", "patch", "update"}},
			{Name: "status", Verbs: []string{"get", "patch", "update"}},
		},
	}
}
