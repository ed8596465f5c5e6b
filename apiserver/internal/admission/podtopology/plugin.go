// Package podtopology gives pods the zone and region of their node as labels
// when they are bound to it.
package podtopology

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

var labels = [...]string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion}

// Plugin implements PodTopologyLabels.
type Plugin struct {
	reader storage.Reader
	nodes  *scheme.Resource
}

// New makes the plugin. nodes is that of the table.
func New(reader storage.Reader, nodes *scheme.Resource) *Plugin { return &Plugin{reader, nodes} }

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "PodTopologyLabels" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Create }

// Admit implements admission.Mutator. A binding hands its labels to the pod.
func (p *Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	switch o := a.Object.(type) {
	case *corev1.Binding:
		if a.Subresource == "binding" && (o.Target.Kind == "" || o.Target.Kind == "Node") {
			p.copyLabels(&o.ObjectMeta, o.Target.Name)
		}
	case *corev1.Pod:
		if a.Subresource == "" && o.Spec.NodeName != "" {
			p.copyLabels(&o.ObjectMeta, o.Spec.NodeName)
		}
	}
	return nil
}

// copyLabels overwrites: the node knows better where it is. A node that is not
// there says nothing.
func (p *Plugin) copyLabels(to *metav1.ObjectMeta, node string) {
	o, ok := p.reader.Get(p.nodes, "", node)
	if !ok {
		return
	}
	from := o.GetLabels()
	for _, key := range labels {
		value, ok := from[key]
		if !ok {
			continue
		}
		if to.Labels == nil {
			to.Labels = map[string]string{}
		}
		to.Labels[key] = value
	}
}
