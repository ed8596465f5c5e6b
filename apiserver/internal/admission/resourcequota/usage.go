package resourcequota

import (
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"

	"xebec.dev/apiserver/internal/admission"
)

// charged reports whether the request may take more of something.
func charged(a *admission.Attributes) bool {
	if a.Namespace == "" || a.Resource.StoragePrefix == "" || a.Resource.Plural == "namespaces" && a.Resource.Group == "" {
		return false
	}
	// Events come and go by themselves, in numbers that quotas would only choke.
	if a.Resource.Plural == "events" && (a.Resource.Group == "" || a.Resource.Group == "events.k8s.io") {
		return false
	}
	if a.Operation == admission.Create {
		return a.Subresource == ""
	}
	switch a.Object.(type) {
	case *corev1.Pod:
		return a.Subresource == "resize"
	case *corev1.Service, *corev1.PersistentVolumeClaim, *resourcev1.ResourceClaim:
		return a.Subresource == ""
	}
	return false
}
