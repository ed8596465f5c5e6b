package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func bindingResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Binding",
		Plural: "bindings", Singular: "binding",
		Namespaced: true,
		Verbs:      []string{"create"},
		New:        func() runtime.Object { return new(corev1.Binding) },
	}
}
