// Package defaulttolerationseconds gives pods the tolerations that let them
// outlive a short absence of their node.
package defaulttolerationseconds

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/apiserver/internal/admission"
)

// Plugin implements DefaultTolerationSeconds.
type Plugin struct {
	// NotReady and Unreachable are in seconds.
	NotReady, Unreachable int64
}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "DefaultTolerationSeconds" }

// Handles implements admission.Plugin.
func (Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Admit implements admission.Mutator.
func (p Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" {
		return nil
	}
	tolerations := pod.Spec.Tolerations
	if !tolerates(tolerations, corev1.TaintNodeNotReady) {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, toleration(corev1.TaintNodeNotReady, p.NotReady))
	}
	if !tolerates(tolerations, corev1.TaintNodeUnreachable) {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, toleration(corev1.TaintNodeUnreachable, p.Unreachable))
	}
	return nil
}

// tolerates reports whether any toleration already speaks of the taint's
// NoExecute effect.
func tolerates(ts []corev1.Toleration, key string) bool {
	for i := range ts {
		t := &ts[i]
		if (t.Key == key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return true
		}
	}
	return false
}

func toleration(key string, seconds int64) corev1.Toleration {
	return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds}
}
