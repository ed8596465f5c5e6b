// Package claimresize lets claims grow only where their storage class says
// that volumes can.
package claimresize

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// Plugin implements PersistentVolumeClaimResize.
type Plugin struct {
	reader  storage.Reader
	store   storage.Store
	classes *scheme.Resource
}

// New makes the plugin. classes is storageclasses in the table.
func New(reader storage.Reader, store storage.Store, classes *scheme.Resource) *Plugin {
	return &Plugin{reader, store, classes}
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "PersistentVolumeClaimResize" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Update }

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
	if !ok || a.Subresource != "" {
		return nil
	}
	old, ok := a.Old.(*corev1.PersistentVolumeClaim)
	if !ok {
		return nil
	}
	size, before := claim.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage]
	switch {
	case size.Cmp(before) <= 0:
		return nil
	case old.Status.Phase != corev1.ClaimBound:
		return a.Forbid(errors.New("only bound persistent volume claims can be expanded"))
	case !p.expandable(ctx, claim):
		return a.Forbid(errors.New("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"))
	}
	return nil
}

func (p *Plugin) expandable(ctx context.Context, claim *corev1.PersistentVolumeClaim) bool {
	name := ""
	if claim.Spec.StorageClassName != nil {
		name = *claim.Spec.StorageClassName
	}
	if beta, ok := claim.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		name = beta
	}
	if name == "" {
		return false
	}
	o, err := admission.Fetch(ctx, p.reader, p.store, p.classes, "", name)
	if err != nil {
		return false
	}
	allow := o.(*storagev1.StorageClass).AllowVolumeExpansion
	return allow != nil && *allow
}
