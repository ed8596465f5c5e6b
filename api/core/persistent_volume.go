package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func persistentVolumeResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "PersistentVolume",
		Plural: "persistentvolumes", Singular: "persistentvolume",
		ShortNames:    []string{"pv"},
		New:           func() runtime.Object { return new(corev1.PersistentVolume) },
		NewList:       func() runtime.Object { return new(corev1.PersistentVolumeList) },
		StoragePrefix: "persistentvolumes",
		Subresources: []scheme.Subresource{
			{Name: "status", Verbs: []string{"get", "patch", "update"}},
		},
	}
}
