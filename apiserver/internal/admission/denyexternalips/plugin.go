// Package denyexternalips keeps services from gaining external addresses,
// which anybody could use to catch others' traffic.
package denyexternalips

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/apiserver/internal/admission"
)

// Plugin implements DenyServiceExternalIPs.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "DenyServiceExternalIPs" }

// Handles implements admission.Plugin.
func (Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Validate implements admission.Validator. Addresses that a service has may
// stay or go.
func (Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	service, ok := a.Object.(*corev1.Service)
	if !ok || a.Subresource != "" {
		return nil
	}
	var have []string
	if old, ok := a.Old.(*corev1.Service); ok {
		have = old.Spec.ExternalIPs
	}
	for _, ip := range service.Spec.ExternalIPs {
		if !slices.Contains(have, ip) {
			return a.Forbid(errors.New("Use of external IPs is denied by admission control")) //nolint:staticcheck // as Kubernetes says it
		}
	}
	return nil
}
