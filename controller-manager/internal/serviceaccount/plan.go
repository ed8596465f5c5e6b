// Package serviceaccount keeps the service account "default" in every
// namespace.
package serviceaccount

import (
	corev1 "k8s.io/api/core/v1"
)

const defaultName = "default"

// plan says whether a namespace lacks its service account.
func plan(ns *corev1.Namespace, have bool) string {
	if have || ns.Status.Phase == corev1.NamespaceTerminating || ns.DeletionTimestamp != nil {
		return ""
	}
	return "create serviceaccount " + ns.Name + "/" + defaultName
}
