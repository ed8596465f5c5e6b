// Package podtoleration gives pods the default tolerations of their namespace
// and refuses those that the namespace does not allow.
package podtoleration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/core"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/configfile"
	"xebec.dev/apiserver/internal/storage"
)

// Annotations of a namespace: JSON lists of tolerations.
const (
	defaultsAnnotation = "scheduler.alpha.kubernetes.io/defaultTolerations"
	allowedAnnotation  = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
)

// Config holds for namespaces without the annotations.
type Config struct {
	APIVersion string              `json:"apiVersion"`
	Kind       string              `json:"kind"`
	Default    []corev1.Toleration `json:"default,omitempty"`
	Whitelist  []corev1.Toleration `json:"whitelist,omitempty"`
}

// Configuration reads the plugin's configuration.
func Configuration(content []byte) (*Config, error) {
	c := &Config{}
	if len(content) == 0 {
		return c, nil
	}
	_, err := configfile.Decode(content, "podtolerationrestriction.admission.k8s.io", "Configuration", []string{"v1alpha1"}, c)
	return c, err
}

// Plugin implements PodTolerationRestriction.
type Plugin struct {
	config     *Config
	reader     storage.Reader
	store      storage.Store
	namespaces *scheme.Resource
}

// New makes the plugin. namespaces is that of the table.
func New(c *Config, reader storage.Reader, store storage.Store, namespaces *scheme.Resource) *Plugin {
	return &Plugin{c, reader, store, namespaces}
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "PodTolerationRestriction" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Admit implements admission.Mutator.
func (p *Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" {
		return nil
	}
	if a.Operation == admission.Create {
		defaults, err := p.tolerations(ctx, a, defaultsAnnotation, p.config.Default)
		if err != nil {
			return err
		}
		merge(pod, defaults)
	}
	// What has memory set aside for it is not the first to go when it is short.
	if core.PodQOS(&pod.Spec) != corev1.PodQOSBestEffort {
		merge(pod, []corev1.Toleration{{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}})
	}
	return p.Validate(ctx, a)
}

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" || len(pod.Spec.Tolerations) == 0 {
		return nil
	}
	allowed, err := p.tolerations(ctx, a, allowedAnnotation, p.config.Whitelist)
	if err != nil {
		return err
	}
	if len(allowed) == 0 {
		return nil
	}
	for i := range pod.Spec.Tolerations {
		if !anyCovers(allowed, &pod.Spec.Tolerations[i]) {
			return a.Forbid(errors.New("pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"))
		}
	}
	return nil
}

// tolerations are those of the namespace's annotation, also an empty list, or
// else the configured ones.
func (p *Plugin) tolerations(ctx context.Context, a *admission.Attributes, annotation string, configured []corev1.Toleration) ([]corev1.Toleration, error) {
	ns, err := admission.Fetch(ctx, p.reader, p.store, p.namespaces, "", a.Namespace)
	if err != nil {
		return nil, err
	}
	text, ok := ns.GetAnnotations()[annotation]
	if !ok {
		return configured, nil
	}
	if text == "" {
		return nil, nil
	}
	var out []corev1.Toleration
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, a.Forbid(fmt.Errorf("annotation %s of namespace %s: %w", annotation, a.Namespace, err))
	}
	return out, nil
}

// merge adds what no toleration of the pod covers.
func merge(pod *corev1.Pod, more []corev1.Toleration) {
	for i := range more {
		if !anyCovers(pod.Spec.Tolerations, &more[i]) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, more[i])
		}
	}
}

func anyCovers(list []corev1.Toleration, t *corev1.Toleration) bool {
	for i := range list {
		if covers(&list[i], t) {
			return true
		}
	}
	return false
}

// covers reports whether wide tolerates whatever t does.
func covers(wide, t *corev1.Toleration) bool {
	exists := wide.Operator == corev1.TolerationOpExists
	if wide.Key != t.Key && (wide.Key != "" || !exists) {
		return false
	}
	if wide.Effect != "" && wide.Effect != t.Effect {
		return false
	}
	if wide.TolerationSeconds != nil && (t.TolerationSeconds == nil || *t.TolerationSeconds > *wide.TolerationSeconds) {
		return false
	}
	if exists {
		return true
	}
	return equals(wide.Operator) == equals(t.Operator) && wide.Value == t.Value
}

// equals completes the operator: none means Equal.
func equals(op corev1.TolerationOperator) corev1.TolerationOperator {
	if op == "" {
		return corev1.TolerationOpEqual
	}
	return op
}
