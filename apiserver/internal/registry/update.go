package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/audit"
	"xebec.dev/apiserver/internal/fieldmanager"
	"xebec.dev/apiserver/internal/storage"
)

func (t *Target) kind() schema.GroupKind {
	k := t.At.Kind
	if k == "" {
		k = t.Kind
	}
	return schema.GroupKind{Group: t.Group, Kind: k}
}

// strategy is the update half of the main resource or the subresource.
func (t *Target) strategy() (*scheme.UpdateStrategy, error) {
	if t.Subresource == "" {
		return &t.Strategy.UpdateStrategy, nil
	}
	sub := t.Served.Subresource(t.Subresource)
	if sub == nil || sub.Update == nil {
		return nil, apierrors.NewMethodNotSupported(t.groupResource(), "update")
	}
	return sub.Update, nil
}

// change makes the new object of an update from the stored one, which it must
// not modify. live is nil when there is none and the change may create.
type change func(live scheme.Object) (scheme.Object, error)

// updating is one update on its way.
type updating struct {
	Target
	strategy *scheme.UpdateStrategy
	change   change
	options  *metav1.UpdateOptions
	dryRun   bool
	// mayCreate is true for PUT of kinds that allow it and for apply.
	mayCreate bool
	// given is true for PUT, whose object carries its own preconditions.
	given bool
	// apply is true when the change maintains managedFields itself.
	apply   bool
	manager string
	// unknown is set when a write was sent and not answered. Nothing may be
	// judged by a fresh read then: it may show that very write.
	unknown bool
	// receipt spares a second attempt to pay again.
	receipt admission.Receipt
}

// Update replaces an object.
func (r *Registry) Update(ctx context.Context, t Target, obj scheme.Object, o *metav1.UpdateOptions) (*Result, error) {
	if err := matchNamespace(&t, obj); err != nil {
		return nil, err
	}
	if err := matchName(&t, obj); err != nil {
		return nil, err
	}
	s, err := t.strategy()
	if err != nil {
		return nil, err
	}
	u := &updating{
		Target: t, strategy: s, options: o, dryRun: isDryRun(o.DryRun), given: true, manager: o.FieldManager,
		mayCreate: t.Subresource == "" && t.Strategy.CreateOnUpdate,
		change:    func(scheme.Object) (scheme.Object, error) { return obj.DeepCopyObject().(scheme.Object), nil },
	}
	audit.From(ctx).RequestObject(obj)
	res, err := r.update(ctx, u)
	if err == nil {
		auditResult(ctx, &t, res)
	}
	return res, err
}

func matchName(t *Target, obj metav1.Object) error {
	switch obj.GetName() {
	case t.Name:
		return nil
	case "":
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: name must be provided", t.Name))
	}
	return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", obj.GetName(), t.Name))
}

// update reads, changes, prepares, validates and swaps, again while another
// writer is faster. It starts from the cached version: a stale one costs a
// round, never a wrong answer.
func (r *Registry) update(ctx context.Context, u *updating) (*Result, error) {
	c := r.Store.Collection(u.Resource)
	current := c.Newest(u.Namespace, u.Name)
	fresh := false
	for {
		if current == nil {
			var err error
			current, err = c.Get(ctx, u.Namespace, u.Name, storage.Fresh, 0)
			if errors.Is(err, storage.ErrNotFound) {
				return r.updateMissing(ctx, u)
			}
			if err != nil {
				return nil, Status(err, u.groupResource(), u.Name)
			}
			fresh = true
		}
		res, err := r.updateOnce(ctx, c, u, current)
		if err == nil {
			return res, nil
		}
		var conflict *storage.Conflict
		switch {
		case errors.As(err, &conflict):
			current, fresh = conflict.Current, conflict.Current != nil
		case !fresh && !u.unknown:
			// The refusal may come from a stale copy: judge by the newest.
			newest, getErr := c.Get(ctx, u.Namespace, u.Name, storage.Fresh, 0)
			if getErr != nil && !errors.Is(getErr, storage.ErrNotFound) {
				return nil, Status(getErr, u.groupResource(), u.Name)
			}
			if getErr == nil && newest.Revision == current.Revision {
				return nil, err
			}
			current, fresh = newest, getErr == nil
		default:
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, Status(ctx.Err(), u.groupResource(), u.Name)
		}
	}
}

func (r *Registry) updateMissing(ctx context.Context, u *updating) (*Result, error) {
	if !u.mayCreate {
		return nil, apierrors.NewNotFound(u.groupResource(), u.Name)
	}
	if err := r.CanCreate(ctx, u.Target); err != nil {
		return nil, err
	}
	obj, err := u.change(nil)
	if err != nil {
		return nil, err
	}
	if !u.apply && obj.GetUID() != "" {
		return nil, apierrors.NewConflict(u.groupResource(), u.Name, errPreconditionUID(u.storageKey(), obj.GetUID(), ""))
	}
	if uid := obj.GetUID(); u.apply && uid != "" {
		return nil, apierrors.NewConflict(u.groupResource(), u.Name,
			fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", uid))
	}
	obj.SetResourceVersion("")
	options := &metav1.CreateOptions{FieldManager: u.manager}
	if u.dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	if !u.apply {
		if err := r.Managers(u.Served, "").Create(obj, u.manager, time.Now()); err != nil {
			return nil, err
		}
	}
	attr := r.attributes(ctx, admission.Create, u.Target, obj, nil, options, u.dryRun)
	if err := r.Admission.Admit(ctx, attr); err != nil {
		return nil, err
	}
	return r.insert(ctx, u.Target, obj, attr, u.dryRun)
}

func (r *Registry) updateOnce(ctx context.Context, c storage.Collection, u *updating, current *storage.Object) (_ *Result, err error) {
	old, err := Decode(u.Resource, current)
	if err != nil {
		return nil, err
	}
	obj, err := u.change(old)
	if err != nil {
		return nil, err
	}
	if err := r.checkPreconditions(u, obj, old, current.Revision); err != nil {
		return nil, err
	}
	obj.SetResourceVersion(old.GetResourceVersion())
	if !u.apply {
		if err := r.Managers(u.Served, u.Subresource).Update(old, obj, u.manager, u.Subresource, time.Now()); err != nil {
			return nil, err
		}
	}
	attr := r.attributes(ctx, admission.Update, u.Target, obj, old, u.options, u.dryRun)
	attr.Receipt = &u.receipt
	if err := r.Admission.Admit(ctx, attr); err != nil {
		return nil, err
	}
	keepSystemMetadata(obj, old)
	if begin := r.hook(u.Resource).BeforeUpdate; begin != nil && u.Subresource == "" {
		finish, hookErr := begin(ctx, obj, old, u.dryRun)
		if hookErr != nil {
			return nil, hookErr
		}
		defer func() { settle(finish, err, u.dryRun) }()
	}
	if err := r.prepareUpdate(ctx, u, obj, old); err != nil {
		return nil, err
	}
	if err := r.Admission.Validate(ctx, attr); err != nil {
		return nil, err
	}
	fieldmanager.KeepTimes(old, obj)
	return r.swap(ctx, c, u, current, obj)
}

// swap writes the new version, or removes the object when this update took
// its last finalizer. An update that changes nothing is not written, unless
// the stored form is no longer the one that is written: so values get a new key.
func (r *Registry) swap(ctx context.Context, c storage.Collection, u *updating, current *storage.Object, obj scheme.Object) (*Result, error) {
	raw, err := Encode(obj)
	if err != nil {
		return nil, err
	}
	if r.goes(u.Resource, obj) {
		if u.dryRun {
			return &Result{Stored: unstored(obj, raw, current.Revision)}, nil
		}
		rev, err := c.Delete(ctx, current)
		if err != nil {
			return nil, u.writeError(err)
		}
		r.afterDelete(ctx, u.Resource, obj)
		return &Result{Stored: unstored(obj, raw, rev)}, nil
	}
	if bytes.Equal(raw, current.Raw) && !current.Stale && current.Revision > r.staleBefore() {
		return &Result{Stored: current}, nil
	}
	if u.dryRun {
		return &Result{Stored: unstored(obj, raw, current.Revision)}, nil
	}
	stored, err := c.Update(ctx, current, raw, r.ttl(u.Resource))
	if err != nil {
		return nil, u.writeError(err)
	}
	return &Result{Stored: stored}, nil
}

// writeError lets a Conflict through, for the loop.
func (u *updating) writeError(err error) error {
	var conflict *storage.Conflict
	if errors.As(err, &conflict) {
		return err
	}
	u.unknown = errors.Is(err, storage.ErrUnknown)
	return Status(err, u.groupResource(), u.Name)
}

// checkPreconditions compares what the request's object says of itself with
// the stored one.
func (r *Registry) checkPreconditions(u *updating, obj, old scheme.Object, revision int64) error {
	if uid := obj.GetUID(); u.given && uid != "" && uid != old.GetUID() {
		return apierrors.NewConflict(u.groupResource(), u.Name, errPreconditionUID(u.storageKey(), uid, old.GetUID()))
	}
	rv := obj.GetResourceVersion()
	if rv == "" || rv == "0" {
		if u.given && u.Strategy.RequireVersion {
			return apierrors.NewInvalid(schema.GroupKind{Group: u.At.Group, Kind: u.Plural}, u.Name, field.ErrorList{
				field.Invalid(field.NewPath("metadata").Child("resourceVersion"), int64(0), "must be specified for an update"),
			})
		}
		return nil
	}
	want, err := strconv.ParseUint(rv, 10, 63)
	if err != nil {
		return plain500("%v", err)
	}
	if int64(want) != revision {
		return apierrors.NewConflict(u.groupResource(), u.Name, errModified)
	}
	return nil
}

func (r *Registry) prepareUpdate(ctx context.Context, u *updating, obj, old scheme.Object) error {
	if u.strategy.PrepareUpdate != nil {
		u.strategy.PrepareUpdate(r.context(ctx, u.Target, u.dryRun), obj, old)
	}
	// A status leaves the spec alone, and a deployment's annotations, which
	// count too, may come with it.
	if s := u.Strategy.SpecChanged; s != nil && u.Subresource != "status" && s(obj, old) {
		obj.SetGeneration(old.GetGeneration() + 1)
	}
	var errs field.ErrorList
	if !u.Strategy.OwnMetadata {
		errs = u.ValidateMetadataUpdate(obj, old)
	}
	validate := u.strategy.ValidateUpdate
	if u.Subresource == "" {
		validate = u.UpdateRule()
	}
	if validate != nil {
		errs = append(errs, validate(obj, old)...)
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(u.kind(), u.Name, errs)
	}
	if u.strategy.WarnUpdate != nil {
		warn(ctx, u.strategy.WarnUpdate(obj, old))
	}
	return nil
}

// keepSystemMetadata restores what no update may change.
func keepSystemMetadata(obj, old scheme.Object) {
	obj.SetGeneration(old.GetGeneration())
	if obj.GetUID() == "" {
		obj.SetUID(old.GetUID())
	}
	if created := old.GetCreationTimestamp(); !created.IsZero() {
		obj.SetCreationTimestamp(created)
	}
	if old.GetDeletionTimestamp() != nil {
		obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
		obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	}
	obj.SetSelfLink("")
}

// goes reports whether an object marked for deletion has nothing left that
// holds it.
func (r *Registry) goes(res *scheme.Resource, obj scheme.Object) bool {
	if obj.GetDeletionTimestamp() == nil || len(obj.GetFinalizers()) > 0 {
		return false
	}
	if g := obj.GetDeletionGracePeriodSeconds(); g != nil && *g > 0 {
		return false
	}
	if removable := r.hook(res).Removable; removable != nil {
		return removable(obj)
	}
	return true
}

func (r *Registry) afterDelete(ctx context.Context, res *scheme.Resource, obj scheme.Object) {
	if after := r.hook(res).AfterDelete; after != nil {
		after(ctx, obj)
	}
}

// Patch changes an object by one of the four patch types.
func (r *Registry) Patch(ctx context.Context, t Target, kind types.PatchType, body []byte, o *metav1.PatchOptions) (*Result, error) {
	audit.From(ctx).RequestPatch(body)
	res, err := r.patch(ctx, t, kind, body, o)
	if err == nil {
		auditResult(ctx, &t, res)
	}
	return res, err
}

func (r *Registry) patch(ctx context.Context, t Target, kind types.PatchType, body []byte, o *metav1.PatchOptions) (*Result, error) {
	s, err := t.strategy()
	if err != nil {
		return nil, err
	}
	u := &updating{
		Target: t, strategy: s, dryRun: isDryRun(o.DryRun), manager: o.FieldManager,
		options: &metav1.UpdateOptions{DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation},
	}
	if kind == types.ApplyPatchType || kind == types.ApplyCBORPatchType {
		manager := r.Managers(t.Served, t.Subresource)
		force := o.Force != nil && *o.Force
		u.apply, u.mayCreate = true, t.Subresource == ""
		u.change = func(live scheme.Object) (scheme.Object, error) {
			obj, err := manager.Apply(live, body, o.FieldManager, force, t.Subresource, time.Now())
			if err != nil {
				return nil, err
			}
			warnings, err := fieldmanager.CheckPatch(body, o.FieldValidation)
			if err != nil {
				return nil, err
			}
			warn(ctx, warnings)
			if err := matchName(&t, obj); err != nil {
				return nil, err
			}
			return obj, matchNamespace(&t, obj)
		}
		return r.update(ctx, u)
	}
	u.change = func(live scheme.Object) (scheme.Object, error) {
		obj, warnings, err := r.Options.Patch(kind, t.Served, live, body, o.FieldValidation)
		if err != nil {
			return nil, err
		}
		warn(ctx, warnings)
		if obj.GetName() != t.Name {
			if err := matchName(&t, obj); err != nil {
				return nil, err
			}
		}
		return obj, matchNamespace(&t, obj)
	}
	return r.update(ctx, u)
}
