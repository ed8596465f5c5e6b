package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func persistentVolumeClaimResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "PersistentVolumeClaim",
		Plural: "persistentvolumeclaims", Singular: "persistentvolumeclaim",
		ShortNames:    []string{"pvc"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.PersistentVolumeClaim) },
		NewList:       func() runtime.Object { return new(corev1.PersistentVolumeClaimList) },
		StoragePrefix: "persistentvolumeclaims",
		Subresources: []scheme.Subresource{
			{Name: "status", Verbs: []string{"get", "patch", "update"}},
		},
	}
}
