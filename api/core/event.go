package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func eventResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Event",
		Plural: "events", Singular: "event",
		ShortNames:    []string{"ev"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.Event) },
		NewList:       func() runtime.Object { return new(corev1.EventList) },
		StoragePrefix: "events",
		TTLSeconds:    3600,
	}
}
