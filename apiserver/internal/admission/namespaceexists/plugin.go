// Package namespaceexists refuses anything in a namespace that is not there.
package namespaceexists

import (
	"context"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// Plugin implements NamespaceExists.
type Plugin struct {
	reader     storage.Reader
	store      storage.Store
	namespaces *scheme.Resource
}

// New makes the plugin. namespaces is that of the table.
func New(reader storage.Reader, store storage.Store, namespaces *scheme.Resource) *Plugin {
	return &Plugin{reader, store, namespaces}
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "NamespaceExists" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op != admission.Connect }

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Namespace == "" || a.Resource == p.namespaces || a.Resource.StoragePrefix == "" {
		return nil
	}
	_, err := admission.Fetch(ctx, p.reader, p.store, p.namespaces, "", a.Namespace)
	return err
}
