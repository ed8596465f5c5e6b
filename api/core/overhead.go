package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateOverhead checks the resources that a sandbox takes besides its
// containers. Kubernetes checks them as a container's limits, and says so.
func ValidateOverhead(l corev1.ResourceList, path *field.Path) field.ErrorList {
	return validateContainerResources(&corev1.ResourceRequirements{Limits: l}, nil, path)
}
