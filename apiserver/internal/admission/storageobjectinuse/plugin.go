// Package storageobjectinuse puts the finalizers on claims and volumes that
// keep them while they are in use.
package storageobjectinuse

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission"
)

// The finalizers, as the protection controllers know them.
const (
	PVCFinalizer = "kubernetes.io/pvc-protection"
	PVFinalizer  = "kubernetes.io/pv-protection"
	VACFinalizer = "kubernetes.io/vac-protection"
)

// Plugin implements StorageObjectInUseProtection.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "StorageObjectInUseProtection" }

// Handles implements admission.Plugin.
func (Plugin) Handles(op admission.Operation) bool { return op == admission.Create }

// Admit implements admission.Mutator.
func (Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	if a.Subresource != "" {
		return nil
	}
	switch o := a.Object.(type) {
	case *corev1.PersistentVolumeClaim:
		protect(o, PVCFinalizer)
	case *corev1.PersistentVolume:
		protect(o, PVFinalizer)
	case *storagev1.VolumeAttributesClass:
		protect(o, VACFinalizer)
	}
	return nil
}

func protect(o metav1.Object, finalizer string) {
	if !slices.Contains(o.GetFinalizers(), finalizer) {
		o.SetFinalizers(append(o.GetFinalizers(), finalizer))
	}
}
