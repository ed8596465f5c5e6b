// Package autoprovision makes a namespace when something is first created in
// it.
package autoprovision

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// Plugin implements NamespaceAutoProvision.
type Plugin struct {
	Reader     storage.Reader
	Store      storage.Store
	Namespaces *scheme.Resource
	// Create makes an object as the server itself.
	Create func(ctx context.Context, r *scheme.Resource, obj scheme.Object) error
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "NamespaceAutoProvision" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Create }

// Admit implements admission.Mutator. It comes before the plugins that look
// into the namespace. A dry run must not leave one behind.
func (p *Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	if a.Namespace == "" || a.Resource == p.Namespaces || a.Resource.StoragePrefix == "" || a.DryRun {
		return nil
	}
	_, err := admission.Fetch(ctx, p.Reader, p.Store, p.Namespaces, "", a.Namespace)
	if !apierrors.IsNotFound(err) {
		return err
	}
	err = p.Create(ctx, p.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.Namespace}})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
