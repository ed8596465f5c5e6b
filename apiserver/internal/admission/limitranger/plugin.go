// Package limitranger gives containers the defaults of their namespace's limit
// ranges and refuses pods and claims beyond them.
package limitranger

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// Plugin implements LimitRanger.
type Plugin struct {
	reader storage.Reader
	ranges *scheme.Resource
}

// New makes the plugin. ranges is limitranges in the table.
func New(reader storage.Reader, ranges *scheme.Resource) *Plugin { return &Plugin{reader, ranges} }

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "LimitRanger" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Admit implements admission.Mutator. Only a new pod gets defaults: later its
// containers are fixed, and a resize says all it wants to change.
func (p *Plugin) Admit(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.Operation != admission.Create || a.Subresource != "" {
		return nil
	}
	for _, o := range p.reader.List(p.ranges, a.Namespace) {
		setDefaults(pod, o.(*corev1.LimitRange))
	}
	return nil
}

// Validate implements admission.Validator.
func (p *Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	if !limited(a) {
		return nil
	}
	for _, o := range p.reader.List(p.ranges, a.Namespace) {
		if errs := check(a, o.(*corev1.LimitRange)); len(errs) > 0 {
			return a.Forbid(utilerrors.NewAggregate(errs))
		}
	}
	return nil
}

// limited reports whether limits apply: to a new pod, a resized one, a claim.
// What is being deleted may always be changed, or its finalizers could not be
// removed.
func limited(a *admission.Attributes) bool {
	if old, ok := a.Old.(metav1.Object); ok && old.GetDeletionTimestamp() != nil {
		return false
	}
	switch a.Object.(type) {
	case *corev1.Pod:
		return a.Operation == admission.Create && a.Subresource == "" || a.Operation == admission.Update && a.Subresource == "resize"
	case *corev1.PersistentVolumeClaim:
		return a.Subresource == ""
	}
	return false
}

func check(a *admission.Attributes, r *corev1.LimitRange) []error {
	var errs []error
	for i := range r.Spec.Limits {
		item := &r.Spec.Limits[i]
		switch o := a.Object.(type) {
		case *corev1.Pod:
			errs = append(errs, checkPod(o, item)...)
		case *corev1.PersistentVolumeClaim:
			if item.Type == corev1.LimitTypePersistentVolumeClaim {
				errs = append(errs, checkClaim(o, item)...)
			}
		}
	}
	return errs
}
