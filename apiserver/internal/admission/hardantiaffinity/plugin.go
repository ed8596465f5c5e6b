// Package hardantiaffinity keeps a pod from barring others from more than its
// own node.
package hardantiaffinity

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/apiserver/internal/admission"
)

// Plugin implements LimitPodHardAntiAffinityTopology.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "LimitPodHardAntiAffinityTopology" }

// Handles implements admission.Plugin.
func (Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Validate implements admission.Validator.
func (Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" || pod.Spec.Affinity == nil || pod.Spec.Affinity.PodAntiAffinity == nil {
		return nil
	}
	terms := pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	for i := range terms {
		if key := terms[i].TopologyKey; key != corev1.LabelHostname {
			return a.Forbid(fmt.Errorf("affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey %v but only key %v is allowed", key, corev1.LabelHostname))
		}
	}
	return nil
}
