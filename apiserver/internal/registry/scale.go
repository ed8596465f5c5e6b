package registry

import (
	"context"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

var (
	scaleKind     = autoscalingv1.SchemeGroupVersion.WithKind("Scale")
	scaleResource = &scheme.Resource{
		Group: scaleKind.Group, Version: scaleKind.Version, Kind: scaleKind.Kind, Plural: "scales",
		Namespaced: true, New: func() runtime.Object { return new(autoscalingv1.Scale) },
	}
	scaleServed = scheme.Served{Resource: scaleResource, At: scheme.Version{Group: scaleKind.Group, Version: scaleKind.Version, Kind: scaleKind.Kind}}
)

// scaleOf shows an object as its Scale.
func scaleOf(t *Target, obj scheme.Object) *autoscalingv1.Scale {
	s := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{
		Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
		ResourceVersion: obj.GetResourceVersion(), CreationTimestamp: obj.GetCreationTimestamp(),
	}}
	s.SetGroupVersionKind(scaleKind)
	s.Spec, s.Status = t.Served.Subresource("scale").Scale.Get(obj)
	return s
}

// GetScale reads the scale subresource.
func (r *Registry) GetScale(ctx context.Context, t Target) (*autoscalingv1.Scale, error) {
	o, err := r.Store.Collection(t.Resource).Get(ctx, t.Namespace, t.Name, storage.Fresh, 0)
	if err != nil {
		return nil, Status(err, t.groupResource(), t.Name)
	}
	obj, err := Decode(t.Resource, o)
	if err != nil {
		return nil, err
	}
	return scaleOf(&t, obj), nil
}

// UpdateScale replaces the scale subresource.
func (r *Registry) UpdateScale(ctx context.Context, t Target, body runtime.Object, o *metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	want := body.(*autoscalingv1.Scale)
	return r.changeScale(ctx, t, r.ownedScale(t, o.FieldManager, func(*autoscalingv1.Scale) (*autoscalingv1.Scale, error) { return want.DeepCopy(), nil }), o)
}

// PatchScale patches the scale subresource.
func (r *Registry) PatchScale(ctx context.Context, t Target, kind types.PatchType, body []byte, o *metav1.PatchOptions) (*autoscalingv1.Scale, error) {
	uo := &metav1.UpdateOptions{DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation}
	if kind == types.ApplyPatchType || kind == types.ApplyCBORPatchType {
		force := o.Force != nil && *o.Force
		return r.changeScale(ctx, t, func(parent []metav1.ManagedFieldsEntry, live *autoscalingv1.Scale) (*autoscalingv1.Scale, []metav1.ManagedFieldsEntry, error) {
			return r.Scales(t.Served).Apply(parent, live, body, o.FieldManager, force, time.Now())
		}, uo)
	}
	return r.changeScale(ctx, t, r.ownedScale(t, o.FieldManager, func(live *autoscalingv1.Scale) (*autoscalingv1.Scale, error) {
		obj, warnings, err := r.Options.Patch(kind, scaleServed, live, body, o.FieldValidation)
		if err != nil {
			return nil, err
		}
		warn(ctx, warnings)
		return obj.(*autoscalingv1.Scale), nil
	}), uo)
}

// scaleChange makes a new Scale from the live one, and the parent's new
// managedFields from the entries it has.
type scaleChange func(parent []metav1.ManagedFieldsEntry, live *autoscalingv1.Scale) (*autoscalingv1.Scale, []metav1.ManagedFieldsEntry, error)

// ownedScale gives what a change alters to the manager.
func (r *Registry) ownedScale(t Target, manager string, change func(live *autoscalingv1.Scale) (*autoscalingv1.Scale, error)) scaleChange {
	return func(parent []metav1.ManagedFieldsEntry, live *autoscalingv1.Scale) (*autoscalingv1.Scale, []metav1.ManagedFieldsEntry, error) {
		want, err := change(live)
		if err != nil {
			return nil, nil, err
		}
		entries, err := r.Scales(t.Served).Update(parent, live, want, manager, time.Now())
		return want, entries, err
	}
}

func (r *Registry) changeScale(ctx context.Context, t Target, change scaleChange, o *metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	access := t.Served.Subresource("scale").Scale
	u := &updating{
		Target: t, strategy: &t.Strategy.UpdateStrategy, options: o, dryRun: isDryRun(o.DryRun), manager: o.FieldManager,
		apply: true, // ownership is kept here
		change: func(live scheme.Object) (scheme.Object, error) {
			want, entries, err := change(live.GetManagedFields(), scaleOf(&t, live))
			if err != nil {
				return nil, err
			}
			if err := checkScale(&t, want, live); err != nil {
				return nil, err
			}
			obj := live.DeepCopyObject().(scheme.Object)
			access.Set(obj, want.Spec.Replicas)
			obj.SetManagedFields(entries)
			obj.SetResourceVersion(want.ResourceVersion)
			return obj, nil
		},
	}
	res, err := r.update(ctx, u)
	if err != nil {
		return nil, err
	}
	obj, err := Decode(t.Resource, res.Stored)
	if err != nil {
		return nil, err
	}
	return scaleOf(&t, obj), nil
}

func checkScale(t *Target, s *autoscalingv1.Scale, live scheme.Object) error {
	if s.Name == "" {
		return apierrors.NewBadRequest("the name of the object (" + t.Name + " based on URL) was undeterminable: name must be provided")
	}
	if err := matchName(t, s); err != nil {
		return err
	}
	if err := matchNamespace(t, s); err != nil {
		return err
	}
	if s.UID != "" && s.UID != live.GetUID() {
		return apierrors.NewConflict(t.groupResource(), t.Name, errPreconditionUID(t.storageKey(), s.UID, live.GetUID()))
	}
	if s.Spec.Replicas < 0 {
		return apierrors.NewInvalid(schema.GroupKind{Group: scaleKind.Group, Kind: scaleKind.Kind}, t.Name, field.ErrorList{
			field.Invalid(field.NewPath("spec", "replicas"), s.Spec.Replicas, "must be greater than or equal to 0"),
		})
	}
	return nil
}
