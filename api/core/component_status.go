package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func componentStatusResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "ComponentStatus",
		Plural: "componentstatuses", Singular: "componentstatus",
		ShortNames: []string{"cs"},
		Verbs:      []string{"get", "list"},
		New:        func() runtime.Object { return new(corev1.ComponentStatus) },
		NewList:    func() runtime.Object { return new(corev1.ComponentStatusList) },
	}
}
