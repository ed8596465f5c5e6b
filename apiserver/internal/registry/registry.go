// Package registry carries out what a request asks for: the verbs over stored
// objects, the same for REST and gRPC. Per-kind behaviour is data in
// xebec.dev/api; what needs the cluster's state sits here or in a Hook.
//
// Flow of a write: default (done by the decoder) → admission (mutate) →
// prepare → validate → admission (validate) → storage.
package registry

import (
	"context"
	"errors"
	"strconv"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/audit"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

// Target is what a request names.
type Target struct {
	scheme.Served
	Namespace   string
	Name        string
	Subresource string
}

// Result is the answer of a write: a stored object, or another kind.
type Result struct {
	// Stored is set for an object of the target's resource.
	Stored *storage.Object
	// Other is set when the answer is of another kind (Status, Scale, Binding).
	Other runtime.Object
	// Created is true when the write made the object (201).
	Created bool
	// Pending is true when a delete was accepted and goes on (202).
	Pending bool
}

// FieldManager keeps metadata.managedFields of one served resource.
type FieldManager interface {
	Create(obj scheme.Object, manager string, now time.Time) error
	Update(live, obj scheme.Object, manager, subresource string, now time.Time) error
	Apply(live scheme.Object, patch []byte, manager string, force bool, subresource string, now time.Time) (scheme.Object, error)
}

// ScaleManager keeps the managedFields of one resource when its Scale is
// written: it gives the parent's new entries.
type ScaleManager interface {
	Update(parent []metav1.ManagedFieldsEntry, live, obj *autoscalingv1.Scale, manager string, now time.Time) ([]metav1.ManagedFieldsEntry, error)
	Apply(parent []metav1.ManagedFieldsEntry, live *autoscalingv1.Scale, patch []byte, manager string, force bool, now time.Time) (*autoscalingv1.Scale, []metav1.ManagedFieldsEntry, error)
}

// Patcher applies a JSON, merge or strategic merge patch to the live object
// and gives the decoded, defaulted result in the storage type.
type Patcher func(t types.PatchType, served scheme.Served, live scheme.Object, body []byte, fieldValidation string) (scheme.Object, []string, error)

// Hook adds behaviour that needs the cluster to one resource.
type Hook struct {
	// BeforeCreate runs before validation and may allocate; finish is called
	// once with the outcome, and not at all when etcd did not tell it: then
	// both the old and the new object may be the stored one.
	BeforeCreate func(ctx context.Context, obj scheme.Object, dryRun bool) (finish func(ok bool), err error)
	BeforeUpdate func(ctx context.Context, obj, old scheme.Object, dryRun bool) (finish func(ok bool), err error)
	// AfterDelete runs once the object is gone.
	AfterDelete func(ctx context.Context, obj scheme.Object)
	// Removable reports whether an object marked for deletion, without
	// finalizers, may go now (namespaces wait for spec.finalizers).
	Removable func(obj scheme.Object) bool
	// BeforeDelete may mark the object instead of removing it (namespaces);
	// marked is true when it changed obj, which is then stored.
	BeforeDelete func(ctx context.Context, obj scheme.Object, o *metav1.DeleteOptions, now metav1.Time) (marked bool, err error)
}

// Options are the registry's surroundings. All are required but Hooks.
type Options struct {
	Scheme    *scheme.Scheme
	Store     storage.Store
	Admission *admission.Chain
	Managers  func(served scheme.Served, subresource string) FieldManager
	Scales    func(served scheme.Served) ScaleManager
	Patch     Patcher
	// Hooks by resource.
	Hooks map[*scheme.Resource]*Hook
	// CanCreate says whether the request's user may create the target, asked
	// when an update would create.
	CanCreate func(ctx context.Context, t Target) error
	Reviewer  Reviewer
	Tokens    Tokens
	// Components are what componentstatuses shows.
	Components []Component
	// StaleBefore is the revision up to which objects may be stored in
	// another form than the one that is written now; nil is none.
	StaleBefore func() int64
	// EventTTL replaces Resource.TTLSeconds where that is set.
	EventTTL time.Duration
}

// Registry serves the verbs.
type Registry struct {
	Options
}

// New makes a registry.
func New(o Options) *Registry { return &Registry{o} }

func (r *Registry) staleBefore() int64 {
	if r.StaleBefore == nil {
		return 0
	}
	return r.StaleBefore()
}

func (r *Registry) hook(res *scheme.Resource) *Hook {
	if h := r.Hooks[res]; h != nil {
		return h
	}
	return &noHook
}

var noHook Hook

func (r *Registry) ttl(res *scheme.Resource) time.Duration {
	if res.TTLSeconds == 0 {
		return 0
	}
	if r.EventTTL > 0 {
		return r.EventTTL
	}
	return time.Duration(res.TTLSeconds) * time.Second
}

// Decode makes the struct of a stored object, with its resourceVersion and
// kind set.
func Decode(res *scheme.Resource, o *storage.Object) (scheme.Object, error) {
	obj := res.New().(scheme.Object)
	if err := obj.Unmarshal(o.Raw); err != nil {
		return nil, apierrors.NewInternalError(&corruptError{res, o, err})
	}
	obj.SetResourceVersion(strconv.FormatInt(o.Revision, 10))
	obj.GetObjectKind().SetGroupVersionKind(res.GroupVersionKind())
	if res.Strategy.Default != nil {
		res.Strategy.Default(obj)
	}
	return obj, nil
}

// Encode makes the bytes to store: without resourceVersion.
func Encode(obj scheme.Object) ([]byte, error) {
	rv := obj.GetResourceVersion()
	obj.SetResourceVersion("")
	raw, err := obj.Marshal()
	obj.SetResourceVersion(rv)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return raw, nil
}

func (r *Registry) context(ctx context.Context, t Target, dryRun bool) scheme.Context {
	c := scheme.Context{Now: metav1.NewTime(time.Now().Truncate(time.Second)), Subresource: t.Subresource, DryRun: dryRun}
	if q := request.From(ctx); q != nil {
		c.User = q.User
	}
	return c
}

func (r *Registry) attributes(ctx context.Context, op admission.Operation, t Target, obj, old, options runtime.Object, dryRun bool) *admission.Attributes {
	a := &admission.Attributes{
		Operation: op, Resource: t.Resource, Subresource: t.Subresource, Namespace: t.Namespace, Name: t.Name,
		Object: obj, Old: old, Options: options, DryRun: dryRun,
		Warn:     func(text string) { request.Warn(ctx, text) },
		Annotate: func(key, value string) { request.Annotate(ctx, key, value) },
	}
	if q := request.From(ctx); q != nil {
		a.User = &q.User
	} else {
		a.User = &request.User{}
	}
	return a
}

// auditResult records the object of a write, where the policy wants it.
func auditResult(ctx context.Context, t *Target, res *Result) {
	record := audit.From(ctx)
	if !record.WantsResponse() {
		return
	}
	if res.Stored == nil {
		record.ResponseObject(res.Other)
		return
	}
	if obj, err := Decode(t.Resource, res.Stored); err == nil {
		record.ResponseObject(obj)
	}
}

func warn(ctx context.Context, texts []string) {
	for _, t := range texts {
		request.Warn(ctx, t)
	}
}

// settle tells a hook how the write that it prepared has ended.
func settle(finish func(ok bool), err error, dryRun bool) {
	if !errors.Is(err, storage.ErrUnknown) {
		finish(err == nil && !dryRun)
	}
}

func isDryRun(values []string) bool { return len(values) > 0 }
