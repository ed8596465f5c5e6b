package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// returnsObject are the resources whose immediate deletion answers the object
// that was; all others answer a Status.
var returnsObject = map[gr]bool{
	{Resource: "pods"}: true, {Resource: "podtemplates"}: true, {Resource: "resourcequotas"}: true, {Resource: "services"}: true,
	{Resource: "serviceaccounts"}: true, {Resource: "persistentvolumes"}: true, {Resource: "persistentvolumeclaims"}: true,
	{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}: true,
}

// returnsObjectGroups are groups of which that holds for all resources.
var returnsObjectGroups = map[string]bool{"storage.k8s.io": true, "resource.k8s.io": true}

// Delete removes an object, or marks it when it is graceful or held by
// finalizers.
func (r *Registry) Delete(ctx context.Context, t Target, o *metav1.DeleteOptions) (*Result, error) {
	if errs := metavalidation.ValidateDeleteOptions(o); len(errs) > 0 {
		return nil, apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind("DeleteOptions").GroupKind(), "", errs)
	}
	c := r.Store.Collection(t.Resource)
	current, err := c.Get(ctx, t.Namespace, t.Name, storage.Fresh, 0)
	// marked is the answer once this request has said that the object goes: who
	// sees that, as a kubelet does, may be quicker to take it away.
	var marked *Result
	for {
		if err != nil {
			return nil, Status(err, t.groupResource(), t.Name)
		}
		var res *Result
		res, err = r.deleteOnce(ctx, c, t, current, o, &marked)
		if err == nil {
			return res, nil
		}
		var conflict *storage.Conflict
		if !errors.As(err, &conflict) {
			return nil, err
		}
		switch {
		case conflict.Current == nil && marked != nil:
			return marked, nil
		case conflict.Current == nil:
			return nil, apierrors.NewNotFound(t.groupResource(), t.Name)
		}
		current, err = conflict.Current, ctx.Err()
	}
}

func (r *Registry) deleteOnce(ctx context.Context, c storage.Collection, t Target, current *storage.Object, o *metav1.DeleteOptions, marked **Result) (*Result, error) {
	old, err := Decode(t.Resource, current)
	if err != nil {
		return nil, err
	}
	if err := checkDeletePreconditions(&t, old, o); err != nil {
		return nil, err
	}
	attr := r.attributes(ctx, admission.Delete, t, nil, old, o, isDryRun(o.DryRun))
	if err := r.Admission.Admit(ctx, attr); err != nil {
		return nil, err
	}
	if err := r.Admission.Validate(ctx, attr); err != nil {
		return nil, err
	}
	if s := t.Strategy.WarnDelete; s != nil {
		warn(ctx, s(old, o))
	}
	obj := old.DeepCopyObject().(scheme.Object)
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	graceful, err := r.mark(ctx, t, obj, o, now)
	if err != nil {
		return nil, err
	}
	if !graceful && r.holds(t.Resource, obj) {
		markNow(obj, now)
		graceful = true
	}
	if graceful {
		return r.storeMarked(ctx, c, t, current, obj, isDryRun(o.DryRun))
	}
	return r.remove(ctx, c, t, current, obj, isDryRun(o.DryRun), marked)
}

// holds reports whether finalizers keep the object.
func (r *Registry) holds(res *scheme.Resource, obj scheme.Object) bool {
	return len(obj.GetFinalizers()) > 0
}

// mark changes obj as the deletion asks: grace period and the finalizers of
// the propagation policy. It returns true when the object stays for a while.
func (r *Registry) mark(ctx context.Context, t Target, obj scheme.Object, o *metav1.DeleteOptions, now metav1.Time) (bool, error) {
	setPropagationFinalizers(t.Resource, obj, o)
	if before := r.hook(t.Resource).BeforeDelete; before != nil {
		return before(ctx, obj, o, now)
	}
	if t.Strategy.GracePeriod == nil {
		return false, nil
	}
	seconds, graceful := t.Strategy.GracePeriod(obj, o)
	if obj.GetDeletionTimestamp() != nil {
		return r.remark(obj, o, seconds, graceful, now), nil
	}
	if !graceful {
		return false, nil
	}
	if seconds == 0 {
		markNow(obj, now)
		return false, nil
	}
	end := metav1.NewTime(now.Add(time.Duration(seconds) * time.Second))
	obj.SetDeletionTimestamp(&end)
	obj.SetDeletionGracePeriodSeconds(&seconds)
	bumpGeneration(obj)
	return true, nil
}

// remark is a deletion of an object already on its way: the period may only
// become shorter.
func (r *Registry) remark(obj scheme.Object, o *metav1.DeleteOptions, seconds int64, graceful bool, now metav1.Time) bool {
	have := obj.GetDeletionGracePeriodSeconds()
	if have == nil || *have == 0 || !graceful && o.GracePeriodSeconds == nil {
		return false
	}
	if o.GracePeriodSeconds == nil || *o.GracePeriodSeconds >= *have {
		return true
	}
	if seconds == 0 {
		markNow(obj, now)
		return false
	}
	start := obj.GetDeletionTimestamp().Add(-time.Duration(*have) * time.Second)
	end := metav1.NewTime(start.Add(time.Duration(seconds) * time.Second))
	if end.Before(&now) {
		end = now
	}
	obj.SetDeletionTimestamp(&end)
	obj.SetDeletionGracePeriodSeconds(&seconds)
	return true
}

// removeTime bounds the two writes of a removal.
const removeTime = 10 * time.Second

func markNow(obj scheme.Object, now metav1.Time) {
	if obj.GetDeletionTimestamp() == nil || obj.GetDeletionTimestamp().After(now.Time) {
		obj.SetDeletionTimestamp(&now)
	}
	if g := obj.GetDeletionGracePeriodSeconds(); g == nil {
		bumpGeneration(obj)
	}
	zero := int64(0)
	obj.SetDeletionGracePeriodSeconds(&zero)
}

func bumpGeneration(obj scheme.Object) {
	if obj.GetGeneration() > 0 {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
}

// setPropagationFinalizers makes the orphan and foregroundDeletion finalizers
// what the policy says: given, already on the object, or the kind's default.
func setPropagationFinalizers(res *scheme.Resource, obj scheme.Object, o *metav1.DeleteOptions) {
	orphan, foreground := wantsFinalizers(res, obj, o)
	var out []string
	for _, f := range obj.GetFinalizers() {
		if f != metav1.FinalizerOrphanDependents && f != metav1.FinalizerDeleteDependents {
			out = append(out, f)
		}
	}
	if orphan {
		out = append(out, metav1.FinalizerOrphanDependents)
	}
	if foreground {
		out = append(out, metav1.FinalizerDeleteDependents)
	}
	if !slices.Equal(out, obj.GetFinalizers()) {
		obj.SetFinalizers(out)
	}
}

func wantsFinalizers(res *scheme.Resource, obj scheme.Object, o *metav1.DeleteOptions) (orphan, foreground bool) {
	if o.OrphanDependents != nil {
		return *o.OrphanDependents, false
	}
	if o.PropagationPolicy != nil {
		return *o.PropagationPolicy == metav1.DeletePropagationOrphan, *o.PropagationPolicy == metav1.DeletePropagationForeground
	}
	orphan = slices.Contains(obj.GetFinalizers(), metav1.FinalizerOrphanDependents)
	foreground = slices.Contains(obj.GetFinalizers(), metav1.FinalizerDeleteDependents)
	if !orphan && !foreground && res.Strategy.DefaultPropagation == metav1.DeletePropagationOrphan {
		orphan = true
	}
	return orphan, foreground
}

func (r *Registry) storeMarked(ctx context.Context, c storage.Collection, t Target, current *storage.Object, obj scheme.Object, dryRun bool) (*Result, error) {
	raw, err := Encode(obj)
	if err != nil {
		return nil, err
	}
	if dryRun || string(raw) == string(current.Raw) {
		return &Result{Stored: unstored(obj, raw, current.Revision), Pending: true}, nil
	}
	stored, err := c.Update(ctx, current, raw, 0)
	if err != nil {
		return nil, err
	}
	return &Result{Stored: stored, Pending: true}, nil
}

func (r *Registry) remove(ctx context.Context, c storage.Collection, t Target, current *storage.Object, obj scheme.Object, dryRun bool, marked **Result) (*Result, error) {
	revision := current.Revision
	if !dryRun {
		// An object whose end has a period shows the last mark to watchers
		// before it goes.
		var err error
		if t.Strategy.GracePeriod != nil && obj.GetDeletionTimestamp() != nil {
			// What is marked with no time left goes, though the caller has gone:
			// nobody else would take it away.
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), removeTime)
			defer cancel()
			if current, err = r.writeMark(ctx, c, current, obj); err != nil {
				return nil, err
			}
			if *marked, err = removed(&t, obj, current.Revision); err != nil {
				return nil, err
			}
		}
		if revision, err = c.Delete(ctx, current); err != nil {
			return nil, err
		}
		r.afterDelete(ctx, t.Resource, obj)
	}
	return removed(&t, obj, revision)
}

// removed is the answer to who has removed an object.
func removed(t *Target, obj scheme.Object, revision int64) (*Result, error) {
	if returnsObject[t.GroupResource()] || returnsObjectGroups[t.Group] {
		raw, err := Encode(obj)
		if err != nil {
			return nil, err
		}
		return &Result{Stored: unstored(obj, raw, revision)}, nil
	}
	return &Result{Other: deletedStatus(t, obj)}, nil
}

func (r *Registry) writeMark(ctx context.Context, c storage.Collection, current *storage.Object, obj scheme.Object) (*storage.Object, error) {
	raw, err := Encode(obj)
	if err != nil || string(raw) == string(current.Raw) {
		return current, err
	}
	return c.Update(ctx, current, raw, 0)
}

func deletedStatus(t *Target, obj scheme.Object) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusSuccess,
		Details:  &metav1.StatusDetails{Name: obj.GetName(), Group: t.At.Group, Kind: t.Plural, UID: obj.GetUID()},
	}
}

func checkDeletePreconditions(t *Target, obj scheme.Object, o *metav1.DeleteOptions) error {
	if o.Preconditions == nil {
		return nil
	}
	if uid := o.Preconditions.UID; uid != nil && *uid != obj.GetUID() {
		return deleteConflict(t, fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *uid, obj.GetUID()))
	}
	if rv := o.Preconditions.ResourceVersion; rv != nil && *rv != obj.GetResourceVersion() {
		return deleteConflict(t, fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *rv, obj.GetResourceVersion()))
	}
	return nil
}

// deleteConflict names the kind where other conflicts name the resource, as
// Kubernetes does.
func deleteConflict(t *Target, err error) error {
	k := t.kind()
	return apierrors.NewConflict(gr{Group: k.Group, Resource: k.Kind}, t.Name, err)
}

// DeleteCollection deletes what a list selects and answers the list.
func (r *Registry) DeleteCollection(ctx context.Context, t Target, o *metav1.DeleteOptions, lo *metav1.ListOptions) (*storage.List, error) {
	if errs := metavalidation.ValidateDeleteOptions(o); len(errs) > 0 {
		return nil, apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind("DeleteOptions").GroupKind(), "", errs)
	}
	list, err := r.List(ctx, t, lo)
	if err != nil {
		return nil, err
	}
	attr := r.attributes(ctx, admission.Delete, t, nil, nil, o, isDryRun(o.DryRun))
	if err := r.Admission.Admit(ctx, attr); err != nil {
		return nil, err
	}
	for _, item := range list.Objects {
		one := t
		one.Namespace, one.Name = item.Namespace, item.Name
		if _, err := r.Delete(ctx, one, o.DeepCopy()); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return list, nil
}
