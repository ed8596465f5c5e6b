package registry

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/audit"
	"xebec.dev/apiserver/internal/storage"
)

// Create stores a new object. obj is decoded and defaulted; it is changed.
func (r *Registry) Create(ctx context.Context, t Target, obj scheme.Object, o *metav1.CreateOptions) (*Result, error) {
	audit.From(ctx).RequestObject(obj)
	res, err := r.create(ctx, t, obj, o)
	if err == nil {
		auditResult(ctx, &t, res)
	}
	return res, err
}

func (r *Registry) create(ctx context.Context, t Target, obj scheme.Object, o *metav1.CreateOptions) (*Result, error) {
	if err := matchNamespace(&t, obj); err != nil {
		return nil, err
	}
	t.Name = obj.GetName()
	// Kubernetes' storage refuses it, which a dry run does not reach.
	if rv := obj.GetResourceVersion(); rv != "" && !isDryRun(o.DryRun) {
		if n, err := parseRevision(rv); err == nil && n > 0 {
			return nil, plain500("resourceVersion should not be set on objects to be created")
		}
	}
	obj.SetResourceVersion("")
	// What admission adds is nobody's.
	if err := r.Managers(t.Served, "").Create(obj, o.FieldManager, time.Now()); err != nil {
		return nil, err
	}
	attr := r.attributes(ctx, admission.Create, t, obj, nil, o, isDryRun(o.DryRun))
	if err := r.Admission.Admit(ctx, attr); err != nil {
		return nil, err
	}
	return r.insert(ctx, t, obj, attr, isDryRun(o.DryRun))
}

// generateAttempts is how many names a generateName tries: with 5 random
// characters collisions are rare, but a busy prefix sees them.
const generateAttempts = 8

func (r *Registry) insert(ctx context.Context, t Target, obj scheme.Object, attr *admission.Attributes, dryRun bool) (*Result, error) {
	generated := obj.GetName() == "" && obj.GetGenerateName() != ""
	for attempt := 1; ; attempt++ {
		if generated {
			obj.SetName(generateName(obj.GetGenerateName()))
			t.Name = obj.GetName()
		}
		res, err := r.insertOnce(ctx, t, obj, attr, dryRun)
		if err == nil || !generated || attempt == generateAttempts || !apierrors.IsAlreadyExists(err) {
			return res, generatedConflict(err, generated, t, obj)
		}
	}
}

func generatedConflict(err error, generated bool, t Target, obj scheme.Object) error {
	if !generated || !apierrors.IsAlreadyExists(err) {
		return err
	}
	return apierrors.NewGenerateNameConflict(t.groupResource(), obj.GetName(), 1)
}

func (r *Registry) insertOnce(ctx context.Context, t Target, obj scheme.Object, attr *admission.Attributes, dryRun bool) (_ *Result, err error) {
	fillSystemMetadata(&t, obj)
	if begin := r.hook(t.Resource).BeforeCreate; begin != nil {
		finish, hookErr := begin(ctx, obj, dryRun)
		if hookErr != nil {
			return nil, hookErr
		}
		defer func() { settle(finish, err, dryRun) }()
	}
	if err := r.prepareCreate(ctx, t, obj, dryRun); err != nil {
		return nil, err
	}
	attr.Name = obj.GetName()
	if err := r.Admission.Validate(ctx, attr); err != nil {
		return nil, err
	}
	stored, err := r.store(ctx, t, obj, dryRun)
	if err != nil {
		return nil, err
	}
	return &Result{Stored: stored, Created: true}, nil
}

func (r *Registry) store(ctx context.Context, t Target, obj scheme.Object, dryRun bool) (*storage.Object, error) {
	raw, err := Encode(obj)
	if err != nil {
		return nil, err
	}
	c := r.Store.Collection(t.Resource)
	if dryRun {
		switch existing, err := c.Get(ctx, t.Namespace, obj.GetName(), storage.Fresh, 0); {
		case err == nil:
			return nil, alreadyExists(t, existing)
		case !errors.Is(err, storage.ErrNotFound):
			return nil, Status(err, t.groupResource(), obj.GetName())
		}
		return unstored(obj, raw, 0), nil
	}
	stored, err := c.Create(ctx, t.Namespace, obj.GetName(), raw, r.ttl(t.Resource))
	var exists *storage.Exists
	if errors.As(err, &exists) {
		return nil, alreadyExists(t, exists.Object)
	}
	return stored, Status(err, t.groupResource(), obj.GetName())
}

// unstored is the answer to a dry run: an object that was not written.
func unstored(obj scheme.Object, raw []byte, revision int64) *storage.Object {
	return &storage.Object{Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: string(obj.GetUID()), Raw: raw, Revision: revision}
}

func alreadyExists(t Target, existing *storage.Object) error {
	err := apierrors.NewAlreadyExists(t.groupResource(), t.Name)
	if existing == nil {
		return err
	}
	if obj, decodeErr := Decode(t.Resource, existing); decodeErr == nil && obj.GetDeletionTimestamp() != nil {
		err.ErrStatus.Message = "object is being deleted: " + err.ErrStatus.Message
	}
	return err
}

func (r *Registry) prepareCreate(ctx context.Context, t Target, obj scheme.Object, dryRun bool) error {
	s := &t.Strategy
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	if s.PrepareCreate != nil {
		s.PrepareCreate(r.context(ctx, t, dryRun), obj)
	}
	if s.SpecChanged != nil {
		obj.SetGeneration(1)
	}
	var errs field.ErrorList
	if !s.OwnMetadata {
		errs = t.ValidateMetadata(obj)
	}
	if validate := t.CreateRule(); validate != nil {
		errs = append(errs, validate(obj)...)
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(t.kind(), obj.GetName(), errs)
	}
	if s.WarnCreate != nil {
		warn(ctx, s.WarnCreate(obj))
	}
	return nil
}

func fillSystemMetadata(t *Target, obj scheme.Object) {
	obj.SetUID(types.UID(uuid.NewString()))
	obj.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	if t.Namespaced {
		obj.SetNamespace(t.Namespace)
	}
}

// maxGeneratedPrefix leaves room for the suffix within a DNS label.
const (
	suffixLength       = 5
	maxGeneratedPrefix = 63 - suffixLength
)

func generateName(prefix string) string {
	if len(prefix) > maxGeneratedPrefix {
		prefix = prefix[:maxGeneratedPrefix]
	}
	return prefix + rand.String(suffixLength)
}
