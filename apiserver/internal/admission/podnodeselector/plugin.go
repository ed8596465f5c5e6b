// Package podnodeselector keeps the pods of a namespace on the nodes that its
// annotation, or the administrator, selects.
package podnodeselector

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// annotation of a namespace: a selector such as "a=b,c=d".
const annotation = "scheduler.alpha.kubernetes.io/node-selector"

// clusterDefault is the configuration's key for namespaces without the
// annotation; other keys are namespaces, and limit what is selected there.
const clusterDefault = "clusterDefaultNodeSelector"

// Plugin implements PodNodeSelector.
type Plugin struct {
	reader     storage.Reader
	store      storage.Store
	namespaces *scheme.Resource
	selectors  map[string]labels.Set
}

// New makes the plugin. config is a map of namespaces to selectors under
// podNodeSelectorPluginConfig; namespaces is that of the table.
func New(config []byte, reader storage.Reader, store storage.Store, namespaces *scheme.Resource) (*Plugin, error) {
	var f struct {
		Selectors map[string]string `json:"podNodeSelectorPluginConfig"`
	}
	if err := yaml.UnmarshalStrict(config, &f); err != nil {
		return nil, err
	}
	p := &Plugin{reader: reader, store: store, namespaces: namespaces, selectors: map[string]labels.Set{}}
	for key, text := range f.Selectors {
		set, err := labels.ConvertSelectorToLabelsMap(text)
		if err != nil {
			return nil, fmt.Errorf("podNodeSelectorPluginConfig.%s: %w", key, err)
		}
		p.selectors[key] = set
	}
	return p, nil
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "PodNodeSelector" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Create }

// Admit implements admission.Mutator.
func (p *Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" {
		return nil
	}
	set, err := p.selector(ctx, a.Namespace)
	if err != nil {
		return err
	}
	if labels.Conflicts(set, pod.Spec.NodeSelector) {
		return a.Forbid(errors.New("pod node label selector conflicts with its namespace node label selector"))
	}
	if len(set) > 0 {
		pod.Spec.NodeSelector = labels.Merge(set, pod.Spec.NodeSelector)
	}
	return nil
}

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" {
		return nil
	}
	set, err := p.selector(ctx, a.Namespace)
	if err != nil {
		return err
	}
	if labels.Conflicts(set, pod.Spec.NodeSelector) {
		return a.Forbid(errors.New("pod node label selector conflicts with its namespace node label selector"))
	}
	allowed, ok := p.selectors[a.Namespace]
	if !ok || len(allowed) == 0 {
		return nil
	}
	for key, value := range pod.Spec.NodeSelector {
		if have, ok := allowed[key]; !ok || have != value {
			return a.Forbid(errors.New("pod node label selector labels conflict with its namespace whitelist"))
		}
	}
	return nil
}

func (p *Plugin) selector(ctx context.Context, namespace string) (labels.Set, error) {
	o, err := admission.Fetch(ctx, p.reader, p.store, p.namespaces, "", namespace)
	if err != nil {
		return nil, err
	}
	if text, ok := o.GetAnnotations()[annotation]; ok {
		return labels.ConvertSelectorToLabelsMap(text)
	}
	return p.selectors[clusterDefault], nil
}
