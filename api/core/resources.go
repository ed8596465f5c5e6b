// Package core has the resources of the API group core (""): names, defaults, validation,
// columns and update rules.
package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		bindingResource(),
		componentStatusResource(),
		configMapResource(),
		endpointsResource(),
		eventResource(),
		limitRangeResource(),
		namespaceResource(),
		nodeResource(),
		persistentVolumeClaimResource(),
		persistentVolumeResource(),
		{
			Group: "", Version: "v1", Kind: "Pod",
			Plural: "pods", Singular: "pod",
			ShortNames:    []string{"po"},
			Categories:    []string{"all"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(corev1.Pod) },
			NewList:       func() runtime.Object { return new(corev1.PodList) },
			StoragePrefix: "pods",
			Subresources: []scheme.Subresource{
				{Name: "attach", Group: "", Version: "v1", Kind: "PodAttachOptions", Verbs: []string{"create", "get"}},
				{Name: "binding", Group: "", Version: "v1", Kind: "Binding", Verbs: []string{"create"}},
				{Name: "ephemeralcontainers", Verbs: []string{"get", "patch", "update"}},
				{Name: "eviction", Group: "policy", Version: "v1", Kind: "Eviction", Verbs: []string{"create"}},
				{Name: "exec", Group: "", Version: "v1", Kind: "PodExecOptions", Verbs: []string{"create", "get"}},
				{Name: "log", Verbs: []string{"get"}},
				{Name: "portforward", Group: "", Version: "v1", Kind: "PodPortForwardOptions", Verbs: []string{"create", "get"}},
				{Name: "proxy", Group: "", Version: "v1", Kind: "PodProxyOptions", Verbs: []string{"create", "delete", "get", "patch", "update"}},
				{Name: "resize", Verbs: []string{"get", "patch", "update"}},
				{Name: "status", Verbs: []string{"get", "patch", "update"}},
			},
		},
		podTemplateResource(),
		replicationControllerResource(),
		resourceQuotaResource(),
		secretResource(),
		serviceAccountResource(),
		serviceResource(),
	}
}
