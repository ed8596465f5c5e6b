// Package priority gives pods the number behind their PriorityClass's name.
package priority

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// Plugin implements Priority.
type Plugin struct {
	reader  storage.Reader
	classes *scheme.Resource
}

// New makes the plugin. classes is priorityclasses in the table.
func New(reader storage.Reader, classes *scheme.Resource) *Plugin {
	return &Plugin{reader, classes}
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "Priority" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Admit implements admission.Mutator.
func (p *Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Subresource != "" {
		return nil
	}
	if old, ok := a.Old.(*corev1.Pod); ok {
		// A priority once given stays, whatever has become of its class.
		keep(pod, old)
		return nil
	}
	class, err := p.class(pod, a)
	if err != nil {
		return err
	}
	var value int32
	policy := corev1.PreemptLowerPriority
	if class != nil {
		pod.Spec.PriorityClassName = class.Name
		value = class.Value
		if class.PreemptionPolicy != nil {
			policy = *class.PreemptionPolicy
		}
	}
	forbid := func(format string, args ...any) error {
		return apierrors.NewForbidden(a.Resource.GroupResource(), pod.Name, fmt.Errorf(format, args...))
	}
	if given := pod.Spec.Priority; given != nil && *given != value {
		return forbid("the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *given, value)
	}
	if given := pod.Spec.PreemptionPolicy; given != nil && *given != policy {
		return forbid("the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", *given, policy)
	}
	pod.Spec.Priority, pod.Spec.PreemptionPolicy = &value, &policy
	return nil
}

func keep(pod, old *corev1.Pod) {
	if pod.Spec.Priority == nil {
		pod.Spec.Priority = old.Spec.Priority
	}
	if pod.Spec.PreemptionPolicy == nil {
		pod.Spec.PreemptionPolicy = old.Spec.PreemptionPolicy
	}
}

// class is the pod's class: the one it names or the default one; nil when
// there is no default.
func (p *Plugin) class(pod *corev1.Pod, a *admission.Attributes) (*schedulingv1.PriorityClass, error) {
	name := pod.Spec.PriorityClassName
	if name == "" {
		return p.defaultClass(), nil
	}
	obj, ok := p.reader.Get(p.classes, "", name)
	if !ok {
		return nil, apierrors.NewForbidden(a.Resource.GroupResource(), pod.Name, fmt.Errorf("no PriorityClass with name %v was found", name))
	}
	return obj.(*schedulingv1.PriorityClass), nil
}

// defaultClass is the global default with the lowest value.
func (p *Plugin) defaultClass() *schedulingv1.PriorityClass {
	var found *schedulingv1.PriorityClass
	for _, obj := range p.reader.List(p.classes, "") {
		if pc := obj.(*schedulingv1.PriorityClass); pc.GlobalDefault && (found == nil || pc.Value < found.Value) {
			found = pc
		}
	}
	return found
}

// Validate implements admission.Validator: one default is enough.
func (p *Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	pc, ok := a.Object.(*schedulingv1.PriorityClass)
	if !ok || a.Subresource != "" || !pc.GlobalDefault {
		return nil
	}
	if d := p.defaultClass(); d != nil && (a.Operation == admission.Create || d.Name != pc.Name) {
		return apierrors.NewForbidden(a.Resource.GroupResource(), pc.Name,
			fmt.Errorf("PriorityClass %v is already marked as default. Only one default can exist", d.Name))
	}
	return nil
}
