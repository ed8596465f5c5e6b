package registry

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/apiserver/internal/storage"
)

// Component tells whether a part of the control plane is well.
type Component struct {
	Name  string
	Check func(ctx context.Context) error
}

// Unwell is the error of a part that answered, or that nobody answered for: the
// message of its condition. Any other error is why it could not be asked.
type Unwell string

func (u Unwell) Error() string { return string(u) }

// IsComponents reports whether the target is componentstatuses, which are
// asked for, not stored.
func (t *Target) IsComponents() bool { return t.Group == "" && t.Plural == "componentstatuses" }

func (r *Registry) componentObject(ctx context.Context, c *Component) (*storage.Object, error) {
	cond := corev1.ComponentCondition{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue, Message: "ok"}
	if err := c.Check(ctx); err != nil {
		cond.Status, cond.Message, cond.Error = corev1.ConditionFalse, "", err.Error()
		if unwell, ok := errors.AsType[Unwell](err); ok {
			cond.Message, cond.Error = string(unwell), ""
		}
	}
	raw, err := (&corev1.ComponentStatus{ObjectMeta: metav1.ObjectMeta{Name: c.Name}, Conditions: []corev1.ComponentCondition{cond}}).Marshal()
	if err != nil {
		return nil, err
	}
	return &storage.Object{Name: c.Name, Raw: raw}, nil
}

func (r *Registry) component(ctx context.Context, t Target) (*storage.Object, error) {
	for i := range r.Components {
		if r.Components[i].Name == t.Name {
			return r.componentObject(ctx, &r.Components[i])
		}
	}
	return nil, apierrors.NewNotFound(gr{Resource: "componentstatus"}, t.Name)
}

func (r *Registry) components(ctx context.Context, o *metav1.ListOptions) (*storage.List, error) {
	sel, err := fields.ParseSelector(o.FieldSelector)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	for _, q := range sel.Requirements() {
		if q.Field != "metadata.name" && q.Field != "metadata.namespace" {
			return nil, unknownField(q.Field)
		}
	}
	label, err := labels.Parse(o.LabelSelector)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	l := &storage.List{}
	for i := range r.Components {
		c := &r.Components[i]
		if !sel.Matches(fields.Set{"metadata.name": c.Name}) || !label.Matches(labels.Set{}) {
			continue
		}
		obj, err := r.componentObject(ctx, c)
		if err != nil {
			return nil, err
		}
		l.Objects = append(l.Objects, obj)
	}
	return l, nil
}
