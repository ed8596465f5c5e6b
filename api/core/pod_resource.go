package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

func podResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Pod",
		Plural: "pods", Singular: "pod",
		ShortNames:    []string{"po"},
		Categories:    []string{"all"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.Pod) },
		NewList:       func() runtime.Object { return new(corev1.PodList) },
		StoragePrefix: "pods",
		Fields: []scheme.SelectableField{
			{Label: "spec.nodeName"},
			{Label: "spec.host", Path: []string{"spec.nodeName"}},
			{Label: "spec.restartPolicy"},
			{Label: "spec.schedulerName"},
			{Label: "spec.serviceAccountName"},
			{Label: "spec.hostNetwork", IfEmpty: "false"},
			{Label: "status.phase"},
			{Label: "status.podIP"},
			// Kubernetes knows the label but not its value: nothing but "" matches.
			{Label: "status.podIPs", Path: []string{"metadata.selfLink"}},
			{Label: "status.nominatedNodeName"},
		},
		Columns: podColumns(),
		Row:     scheme.Rows(podRow),
		RowConditions: func(o runtime.Object) []metav1.TableRowCondition {
			return podRowConditions(o.(*corev1.Pod))
		},
		Strategy: scheme.Hooks[corev1.Pod]{
			Default:        DefaultPod,
			PrepareCreate:  preparePodCreate,
			ValidateCreate: ValidatePodCreate,
			WarnCreate:     warnPod,
			PrepareUpdate:  preparePodUpdate,
			ValidateUpdate: ValidatePodUpdate,
			ResetFields:    []string{"status"},
			SpecChanged:    podSpecChanged,
			GracePeriod:    gracePeriod,
		}.Erase(),
		Subresources: []scheme.Subresource{
			{Name: "attach", Group: "", Version: "v1", Kind: "PodAttachOptions", Verbs: []string{"create", "get"}},
			{Name: "binding", Group: "", Version: "v1", Kind: "Binding", Verbs: []string{"create"}},
			{Name: "ephemeralcontainers", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[corev1.Pod]{
				PrepareUpdate:  prepareEphemeralUpdate,
				ValidateUpdate: validateEphemeralUpdate,
			}.Pointer()},
			{Name: "eviction", Group: "policy", Version: "v1", Kind: "Eviction", Verbs: []string{"create"}},
			{Name: "exec", Group: "", Version: "v1", Kind: "PodExecOptions", Verbs: []string{"create", "get"}},
			{Name: "log", Verbs: []string{"get"}},
			{Name: "portforward", Group: "", Version: "v1", Kind: "PodPortForwardOptions", Verbs: []string{"create", "get"}},
			{Name: "proxy", Group: "", Version: "v1", Kind: "PodProxyOptions", Verbs: []string{"create", "delete", "get", "patch", "update"}},
			{Name: "resize", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[corev1.Pod]{
				PrepareUpdate:  preparePodResize,
				ValidateUpdate: validatePodResize,
			}.Pointer()},
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[corev1.Pod]{
				PrepareUpdate:  preparePodStatusUpdate,
				ValidateUpdate: validatePodStatusUpdate,
				ResetFields:    []string{"spec", "metadata.deletionTimestamp", "metadata.ownerReferences"},
			}.Pointer()},
		},
	}
}
