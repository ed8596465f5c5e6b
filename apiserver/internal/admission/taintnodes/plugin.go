// Package taintnodes keeps pods off a new node until a controller has seen
// that it is ready.
package taintnodes

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/apiserver/internal/admission"
)

// Plugin implements TaintNodesByCondition.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "TaintNodesByCondition" }

// Handles implements admission.Plugin.
func (Plugin) Handles(op admission.Operation) bool { return op == admission.Create }

// Admit implements admission.Mutator.
func (Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	node, ok := a.Object.(*corev1.Node)
	if !ok || a.Subresource != "" {
		return nil
	}
	taint := corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}
	for i := range node.Spec.Taints {
		if node.Spec.Taints[i].MatchTaint(&taint) {
			return nil
		}
	}
	node.Spec.Taints = append(node.Spec.Taints, taint)
	return nil
}
