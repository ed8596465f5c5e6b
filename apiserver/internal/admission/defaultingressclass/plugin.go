// Package defaultingressclass gives ingresses without a class the default one.
package defaultingressclass

import (
	"context"

	networkingv1 "k8s.io/api/networking/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// classAnnotation named the class before there was a field.
const classAnnotation = "kubernetes.io/ingress.class"

// Plugin implements DefaultIngressClass.
type Plugin struct {
	reader  storage.Reader
	classes *scheme.Resource
}

// New makes the plugin. classes is ingressclasses in the table.
func New(reader storage.Reader, classes *scheme.Resource) *Plugin { return &Plugin{reader, classes} }

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "DefaultIngressClass" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Create }

// Admit implements admission.Mutator.
func (p *Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	ingress, ok := a.Object.(*networkingv1.Ingress)
	if !ok || a.Subresource != "" || ingress.Spec.IngressClassName != nil {
		return nil
	}
	if _, ok := ingress.Annotations[classAnnotation]; ok {
		return nil
	}
	if c := p.class(); c != nil {
		name := c.Name
		ingress.Spec.IngressClassName = &name
	}
	return nil
}

// class is the newest default; of several of one second, the first by name.
func (p *Plugin) class() *networkingv1.IngressClass {
	var found *networkingv1.IngressClass
	for _, o := range p.reader.List(p.classes, "") {
		c := o.(*networkingv1.IngressClass)
		if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] != "true" {
			continue
		}
		if found == nil || found.CreationTimestamp.Before(&c.CreationTimestamp) {
			found = c
		}
	}
	return found
}
