package core

import corev1 "k8s.io/api/core/v1"

// DefaultNamespace labels a namespace with its name, so that selectors can
// pick it, whatever the client wrote into the label.
func DefaultNamespace(n *corev1.Namespace) {
	if n.Status.Phase == "" {
		n.Status.Phase = corev1.NamespaceActive
	}
	if n.Name == "" {
		return
	}
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	n.Labels[corev1.LabelMetadataName] = n.Name
}
