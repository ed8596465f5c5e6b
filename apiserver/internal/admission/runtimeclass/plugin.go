// Package runtimeclass puts a RuntimeClass's overhead and scheduling rules on
// the pods that name it.
package runtimeclass

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// Plugin implements RuntimeClass.
type Plugin struct {
	reader  storage.Reader
	store   storage.Store
	classes *scheme.Resource
}

// New makes the plugin. classes is runtimeclasses in the table.
func New(reader storage.Reader, store storage.Store, classes *scheme.Resource) *Plugin {
	return &Plugin{reader, store, classes}
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "RuntimeClass" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Create }

// Admit implements admission.Mutator.
func (p *Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" {
		return nil
	}
	class, err := p.class(ctx, a, pod)
	if class == nil || err != nil {
		return err
	}
	if err := setOverhead(pod, class); err != nil {
		return a.Forbid(err)
	}
	if err := setScheduling(pod, class); err != nil {
		return a.Forbid(err)
	}
	return nil
}

// Validate implements admission.Validator: overhead is the class's to say.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" || len(pod.Spec.Overhead) == 0 && !named(pod) {
		return nil
	}
	class, err := p.class(ctx, a, pod)
	if err != nil {
		return err
	}
	var want corev1.ResourceList
	if class != nil && class.Overhead != nil {
		want = class.Overhead.PodFixed
	}
	switch {
	case want == nil && len(pod.Spec.Overhead) > 0:
		return a.Forbid(errors.New("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"))
	case want != nil && !equality.Semantic.DeepEqual(want, pod.Spec.Overhead):
		return a.Forbid(errors.New("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"))
	}
	return nil
}

func named(pod *corev1.Pod) bool {
	return pod.Spec.RuntimeClassName != nil && *pod.Spec.RuntimeClassName != ""
}

// class is the pod's class; nil when it names none.
func (p *Plugin) class(ctx context.Context, a *admission.Attributes, pod *corev1.Pod) (*nodev1.RuntimeClass, error) {
	if !named(pod) {
		return nil, nil
	}
	o, err := admission.Fetch(ctx, p.reader, p.store, p.classes, "", *pod.Spec.RuntimeClassName)
	if apierrors.IsNotFound(err) {
		return nil, a.Forbid(fmt.Errorf("pod rejected: RuntimeClass %q not found", *pod.Spec.RuntimeClassName))
	}
	if err != nil {
		return nil, err
	}
	return o.(*nodev1.RuntimeClass), nil
}

func setOverhead(pod *corev1.Pod, class *nodev1.RuntimeClass) error {
	if class.Overhead == nil || class.Overhead.PodFixed == nil {
		return nil
	}
	if pod.Spec.Overhead != nil && !equality.Semantic.DeepEqual(pod.Spec.Overhead, class.Overhead.PodFixed) {
		return errors.New("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
	}
	pod.Spec.Overhead = class.Overhead.PodFixed.DeepCopy()
	return nil
}

func setScheduling(pod *corev1.Pod, class *nodev1.RuntimeClass) error {
	s := class.Scheduling
	if s == nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(s.NodeSelector)) {
		value := s.NodeSelector[key]
		if have, ok := pod.Spec.NodeSelector[key]; ok && have != value {
			return fmt.Errorf("conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", key, value, key, have)
		}
		if pod.Spec.NodeSelector == nil {
			pod.Spec.NodeSelector = map[string]string{}
		}
		pod.Spec.NodeSelector[key] = value
	}
	for i := range s.Tolerations {
		t := &s.Tolerations[i]
		if !slices.ContainsFunc(pod.Spec.Tolerations, func(have corev1.Toleration) bool { return equality.Semantic.DeepEqual(&have, t) }) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, *t.DeepCopy())
		}
	}
	return nil
}
