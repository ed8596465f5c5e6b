package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/storage"
)

var bindingResource = schema.GroupResource{Resource: "pods/binding"}

func successStatus(code int32) *metav1.Status {
	return &metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess, Code: code}
}

// bind assigns a pod to a node.
func (r *Registry) bind(ctx context.Context, t Target, b *corev1.Binding, validate func() error, dryRun bool) (*Result, error) {
	if b.Name != t.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	if errs := validateBinding(b); len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "Binding"}, b.Name, errs)
	}
	if err := validate(); err != nil {
		return nil, err
	}
	c := r.Store.Collection(t.Resource)
	current := c.Newest(t.Namespace, t.Name)
	for fresh := false; ; {
		if current == nil {
			var err error
			if current, err = c.Get(ctx, t.Namespace, t.Name, storage.Fresh, 0); err != nil {
				return nil, Status(err, t.groupResource(), t.Name)
			}
			fresh = true
		}
		err := r.bindOnce(ctx, t, c, current, b, dryRun)
		if err == nil {
			return &Result{Other: successStatus(http.StatusCreated), Created: true}, nil
		}
		var conflict *storage.Conflict
		switch {
		case errors.As(err, &conflict) && conflict.Current != nil:
			current, fresh = conflict.Current, true
		case !fresh && !errors.Is(err, storage.ErrUnknown):
			current = nil
		default:
			return nil, Status(err, t.groupResource(), t.Name)
		}
	}
}

func validateBinding(b *corev1.Binding) field.ErrorList {
	var errs field.ErrorList
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		errs = append(errs, field.NotSupported(field.NewPath("target", "kind"), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(field.NewPath("target", "name"), ""))
	}
	return errs
}

func (r *Registry) bindOnce(ctx context.Context, t Target, c storage.Collection, current *storage.Object, b *corev1.Binding, dryRun bool) error {
	obj, err := Decode(t.Resource, current)
	if err != nil {
		return err
	}
	pod := obj.(*corev1.Pod)
	if err := assign(pod, b, metav1.NewTime(time.Now().Truncate(time.Second))); err != nil {
		return err
	}
	raw, err := Encode(pod)
	if err != nil || dryRun {
		return err
	}
	_, err = c.Update(ctx, current, raw, 0)
	return err
}

// assign writes the node into the pod, or says why it can't.
func assign(pod *corev1.Pod, b *corev1.Binding, now metav1.Time) error {
	conflict := func(format string, args ...any) error {
		return apierrors.NewConflict(bindingResource, pod.Name, fmt.Errorf(format, args...))
	}
	switch {
	case b.UID != "" && b.UID != pod.UID:
		return conflict("Precondition failed: UID in precondition: %v, UID in object meta: %v", b.UID, pod.UID)
	case b.ResourceVersion != "" && b.ResourceVersion != pod.ResourceVersion:
		return conflict("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", b.ResourceVersion, pod.ResourceVersion)
	case pod.DeletionTimestamp != nil:
		return conflict("pod %v is being deleted, cannot be assigned to a host", pod.Name)
	case pod.Spec.NodeName != "":
		return conflict("pod %v is already assigned to node %q", pod.Name, pod.Spec.NodeName)
	case len(pod.Spec.SchedulingGates) > 0:
		return conflict("pod %v has non-empty .spec.schedulingGates", pod.Name)
	}
	pod.Spec.NodeName = b.Target.Name
	for k, v := range b.Annotations {
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations[k] = v
	}
	for k, v := range b.Labels {
		if pod.Labels == nil {
			pod.Labels = map[string]string{}
		}
		pod.Labels[k] = v
	}
	setScheduled(&pod.Status, now)
	return nil
}

func setScheduled(s *corev1.PodStatus, now metav1.Time) {
	want := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now}
	for i := range s.Conditions {
		if s.Conditions[i].Type != corev1.PodScheduled {
			continue
		}
		if s.Conditions[i].Status == corev1.ConditionTrue {
			want.LastTransitionTime = s.Conditions[i].LastTransitionTime
		}
		s.Conditions[i] = want
		return
	}
	s.Conditions = append(s.Conditions, want)
}
