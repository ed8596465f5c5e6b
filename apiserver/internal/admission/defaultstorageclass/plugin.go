// Package defaultstorageclass gives claims without a class the default one.
package defaultstorageclass

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// The annotations that make a class the default.
const (
	annotation     = "storageclass.kubernetes.io/is-default-class"
	betaAnnotation = "storageclass.beta.kubernetes.io/is-default-class"
)

// Plugin implements DefaultStorageClass.
type Plugin struct {
	reader  storage.Reader
	classes *scheme.Resource
}

// New makes the plugin. classes is storageclasses in the table.
func New(reader storage.Reader, classes *scheme.Resource) *Plugin { return &Plugin{reader, classes} }

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "DefaultStorageClass" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Create }

// Admit implements admission.Mutator.
func (p *Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
	if !ok || a.Subresource != "" || claim.Spec.StorageClassName != nil {
		return nil
	}
	if _, ok := claim.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return nil
	}
	if c := p.class(); c != nil {
		name := c.Name
		claim.Spec.StorageClassName = &name
	}
	return nil
}

// class is the newest default; of several of one second, the first by name.
func (p *Plugin) class() *storagev1.StorageClass {
	var found *storagev1.StorageClass
	for _, o := range p.reader.List(p.classes, "") {
		c := o.(*storagev1.StorageClass)
		if c.Annotations[annotation] != "true" && c.Annotations[betaAnnotation] != "true" {
			continue
		}
		if found == nil || found.CreationTimestamp.Before(&c.CreationTimestamp) {
			found = c
		}
	}
	return found
}
