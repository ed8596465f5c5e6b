package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func nodeResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Node",
		Plural: "nodes", Singular: "node",
		ShortNames:    []string{"no"},
		New:           func() runtime.Object { return new(corev1.Node) },
		NewList:       func() runtime.Object { return new(corev1.NodeList) },
		StoragePrefix: "minions",
		Subresources: []scheme.Subresource{
			{Name: "proxy", Group: "", Version: "v1", Kind: "NodeProxyOptions", Verbs: []string{"create", "delete", "get", "patch", "update"}},
			{Name: "status", Verbs: []string{"get", "patch", "update"}},
		},
	}
}
