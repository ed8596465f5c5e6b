// Package bootstrap makes the objects that every cluster expects to find, and
// keeps those alive that must never go.
package bootstrap

import (
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SystemNamespaces always exist.
var SystemNamespaces = []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease, metav1.NamespaceDefault}

// PriorityClasses are the system's own, which admission allows only there.
func PriorityClasses() []*schedulingv1.PriorityClass {
	lower := corev1.PreemptLowerPriority
	return []*schedulingv1.PriorityClass{
		{
			ObjectMeta:       metav1.ObjectMeta{Name: "system-node-critical"},
			Value:            2000001000,
			Description:      "Used for system critical pods that must not be moved from their current node.",
			PreemptionPolicy: &lower,
		},
		{
			ObjectMeta:       metav1.ObjectMeta{Name: "system-cluster-critical"},
			Value:            2000000000,
			Description:      "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
			PreemptionPolicy: &lower,
		},
	}
}
