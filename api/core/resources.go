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
		{
			Group: "", Version: "v1", Kind: "Binding",
			Plural: "bindings", Singular: "binding",
			Namespaced: true,
			Verbs:      []string{"create"},
			New:        func() runtime.Object { return new(corev1.Binding) },
		},
		{
			Group: "", Version: "v1", Kind: "ComponentStatus",
			Plural: "componentstatuses", Singular: "componentstatus",
			ShortNames: []string{"cs"},
			Verbs:      []string{"get", "list"},
			New:        func() runtime.Object { return new(corev1.ComponentStatus) },
			NewList:    func() runtime.Object { return new(corev1.ComponentStatusList) },
		},
		{
			Group: "", Version: "v1", Kind: "ConfigMap",
			Plural: "configmaps", Singular: "configmap",
			ShortNames:    []string{"cm"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(corev1.ConfigMap) },
			NewList:       func() runtime.Object { return new(corev1.ConfigMapList) },
			StoragePrefix: "configmaps",
		},
		{
			Group: "", Version: "v1", Kind: "Endpoints",
			Plural: "endpoints", Singular: "endpoints",
			ShortNames:    []string{"ep"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(corev1.Endpoints) },
			NewList:       func() runtime.Object { return new(corev1.EndpointsList) },
			StoragePrefix: "services/endpoints",
		},
		{
			Group: "", Version: "v1", Kind: "Event",
			Plural: "events", Singular: "event",
			ShortNames:    []string{"ev"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(corev1.Event) },
			NewList:       func() runtime.Object { return new(corev1.EventList) },
			StoragePrefix: "events",
			TTLSeconds:    3600,
		},
		{
			Group: "", Version: "v1", Kind: "LimitRange",
			Plural: "limitranges", Singular: "limitrange",
			ShortNames:    []string{"limits"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(corev1.LimitRange) },
			NewList:       func() runtime.Object { return new(corev1.LimitRangeList) },
			StoragePrefix: "limitranges",
		},
		{
			Group: "", Version: "v1", Kind: "Namespace",
			Plural: "namespaces", Singular: "namespace",
			ShortNames:    []string{"ns"},
			Verbs:         []string{"create", "delete", "get", "list", "patch", "update", "watch"},
			New:           func() runtime.Object { return new(corev1.Namespace) },
			NewList:       func() runtime.Object { return new(corev1.NamespaceList) },
			StoragePrefix: "namespaces",
			Subresources: []scheme.Subresource{
				{Name: "finalize", Verbs: []string{"update"}},
				{Name: "status", Verbs: []string{"get", "patch", "update"}},
			},
		},
		{
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
		},
		{
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
		},
		{
			Group: "", Version: "v1", Kind: "PersistentVolume",
			Plural: "persistentvolumes", Singular: "persistentvolume",
			ShortNames:    []string{"pv"},
			New:           func() runtime.Object { return new(corev1.PersistentVolume) },
			NewList:       func() runtime.Object { return new(corev1.PersistentVolumeList) },
			StoragePrefix: "persistentvolumes",
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}},
			},
		},
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
		{
			Group: "", Version: "v1", Kind: "PodTemplate",
			Plural: "podtemplates", Singular: "podtemplate",
			Namespaced:    true,
			New:           func() runtime.Object { return new(corev1.PodTemplate) },
			NewList:       func() runtime.Object { return new(corev1.PodTemplateList) },
			StoragePrefix: "podtemplates",
		},
		{
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
		},
		{
			Group: "", Version: "v1", Kind: "ResourceQuota",
			Plural: "resourcequotas", Singular: "resourcequota",
			ShortNames:    []string{"quota"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(corev1.ResourceQuota) },
			NewList:       func() runtime.Object { return new(corev1.ResourceQuotaList) },
			StoragePrefix: "resourcequotas",
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}},
			},
		},
		{
			Group: "", Version: "v1", Kind: "Secret",
			Plural: "secrets", Singular: "secret",
			Namespaced:    true,
			New:           func() runtime.Object { return new(corev1.Secret) },
			NewList:       func() runtime.Object { return new(corev1.SecretList) },
			StoragePrefix: "secrets",
		},
		{
			Group: "", Version: "v1", Kind: "ServiceAccount",
			Plural: "serviceaccounts", Singular: "serviceaccount",
			ShortNames:    []string{"sa"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(corev1.ServiceAccount) },
			NewList:       func() runtime.Object { return new(corev1.ServiceAccountList) },
			StoragePrefix: "serviceaccounts",
			Subresources: []scheme.Subresource{
				{Name: "token", Group: "authentication.k8s.io", Version: "v1", Kind: "TokenRequest", Verbs: []string{"create"}},
			},
		},
		{
			Group: "", Version: "v1", Kind: "Service",
			Plural: "services", Singular: "service",
			ShortNames:    []string{"svc"},
			Categories:    []string{"all"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(corev1.Service) },
			NewList:       func() runtime.Object { return new(corev1.ServiceList) },
			StoragePrefix: "services/specs",
			Subresources: []scheme.Subresource{
				{Name: "proxy", Group: "", Version: "v1", Kind: "ServiceProxyOptions", Verbs: []string{"create", "delete", "get", "patch", "update"}},
				{Name: "status", Verbs: []string{"get", "patch", "update"}},
			},
		},
	}
}
