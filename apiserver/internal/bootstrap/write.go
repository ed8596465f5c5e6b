package bootstrap

import (
	"context"
	"errors"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/storage"
)

// CreateObject creates an object as the server itself. The error of one that
// is there is AlreadyExists.
func (m *Maker) CreateObject(ctx context.Context, r *scheme.Resource, obj scheme.Object) error {
	t, err := m.Target(r.Group, r.Version, r.Plural, obj.GetNamespace(), "")
	if err != nil {
		return err
	}
	if d := r.Strategy.Default; d != nil {
		d(obj)
	}
	obj.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
	_, err = m.Registry.Create(Context(ctx), t, obj, &metav1.CreateOptions{FieldManager: manager})
	return err
}

// DeleteObject deletes an object as the server itself.
func (m *Maker) DeleteObject(ctx context.Context, r *scheme.Resource, namespace, name string) error {
	t, err := m.Target(r.Group, r.Version, r.Plural, namespace, name)
	if err != nil {
		return err
	}
	_, err = m.Registry.Delete(Context(ctx), t, &metav1.DeleteOptions{})
	return err
}

// UpdateStatus changes the status of an object as the server itself.
func (m *Maker) UpdateStatus(ctx context.Context, group, version, plural, namespace, name string, edit func(scheme.Object)) error {
	return m.change(ctx, group, version, plural, namespace, name, "status", edit)
}

// Ensure creates an object, or brings the one that is there to what edit
// makes of it.
func (m *Maker) Ensure(ctx context.Context, group, version, plural string, obj scheme.Object, edit func(have scheme.Object)) error {
	created, err := m.Create(ctx, group, version, plural, obj)
	if err != nil || created {
		return err
	}
	return m.change(ctx, group, version, plural, obj.GetNamespace(), obj.GetName(), "", edit)
}

func (m *Maker) change(ctx context.Context, group, version, plural, namespace, name, subresource string, edit func(scheme.Object)) error {
	t, err := m.Target(group, version, plural, namespace, name)
	if err != nil {
		return err
	}
	t.Subresource = subresource
	// What the cache has will do to see that nothing is to be done, and an
	// update of something old meets a conflict.
	for match := storage.Any; ; match = storage.Fresh {
		o, err := m.Registry.Store.Collection(t.Resource).Get(ctx, namespace, name, match, 0)
		if match == storage.Any && errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return registry.Status(err, t.GroupResource(), name)
		}
		obj, err := registry.Decode(t.Resource, o)
		if err != nil {
			return err
		}
		before := obj.DeepCopyObject()
		if edit(obj); apiequality.Semantic.DeepEqual(before, obj) {
			return nil
		}
		_, err = m.Registry.Update(Context(ctx), t, obj, &metav1.UpdateOptions{FieldManager: manager})
		if !apierrors.IsConflict(err) || ctx.Err() != nil {
			return err
		}
	}
}
