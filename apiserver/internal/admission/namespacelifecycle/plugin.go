// Package namespacelifecycle keeps objects out of namespaces that do not exist
// or are going, and keeps the system namespaces.
package namespacelifecycle

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// Plugin implements NamespaceLifecycle.
type Plugin struct {
	reader     storage.Reader
	store      storage.Store
	namespaces *scheme.Resource
	immortal   map[string]bool
}

// New makes the plugin. namespaces is the resource in the table.
func New(reader storage.Reader, store storage.Store, namespaces *scheme.Resource) *Plugin {
	return &Plugin{reader: reader, store: store, namespaces: namespaces, immortal: map[string]bool{
		metav1.NamespaceDefault: true, metav1.NamespaceSystem: true, metav1.NamespacePublic: true,
	}}
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "NamespaceLifecycle" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op != admission.Connect }

// Admit implements admission.Mutator, so that it comes before what other
// plugins would look up in the namespace; it changes nothing.
func (p *Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	if a.Resource == p.namespaces && a.Operation == admission.Delete && p.immortal[a.Name] {
		return apierrors.NewForbidden(a.Resource.GroupResource(), a.Name, errors.New("this namespace may not be deleted"))
	}
	if a.Namespace == "" || a.Resource == p.namespaces || a.Operation == admission.Delete {
		return nil
	}
	// A review is asked about a namespace, it does not live there.
	if a.Resource.StoragePrefix == "" {
		return nil
	}
	ns, err := p.namespace(ctx, a.Namespace)
	if err != nil {
		return err
	}
	if a.Operation != admission.Create || ns.Status.Phase != corev1.NamespaceTerminating {
		return nil
	}
	return terminating(a)
}

// namespace finds it in the cache, or, when a client is faster than the
// cache, in a fresh read.
func (p *Plugin) namespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	if obj, ok := p.reader.Get(p.namespaces, "", name); ok {
		return obj.(*corev1.Namespace), nil
	}
	o, err := p.store.Collection(p.namespaces).Get(ctx, "", name, storage.Fresh, 0)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, apierrors.NewNotFound(p.namespaces.GroupResource(), name)
	}
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	ns := &corev1.Namespace{}
	if err := ns.Unmarshal(o.Raw); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return ns, nil
}

func terminating(a *admission.Attributes) error {
	err := apierrors.NewForbidden(a.Resource.GroupResource(), a.Name,
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", a.Namespace))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    corev1.NamespaceTerminatingCause,
		Message: fmt.Sprintf("namespace %s is being terminated", a.Namespace),
		Field:   "metadata.namespace",
	})
	return err
}
