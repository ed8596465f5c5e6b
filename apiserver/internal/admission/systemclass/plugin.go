// Package systemclass keeps the priority classes that the cluster's own pods
// name. It is not an admission plugin of Kubernetes and cannot be turned off.
package systemclass

import (
	"context"
	"errors"

	schedulingv1 "k8s.io/api/scheduling/v1"

	"xebec.dev/api/scheduling"
	"xebec.dev/apiserver/internal/admission"
)

// Plugin refuses to delete them.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "SystemPriorityClasses" }

// Handles implements admission.Plugin.
func (Plugin) Handles(op admission.Operation) bool { return op == admission.Delete }

// Validate implements admission.Validator.
func (Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	if a.Resource.Group == schedulingv1.GroupName && a.Resource.Plural == "priorityclasses" && scheduling.IsSystemClass(a.Name) {
		return a.Forbid(errors.New("this is a system priority class and cannot be deleted"))
	}
	return nil
}
