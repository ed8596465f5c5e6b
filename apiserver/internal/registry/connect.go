package registry

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
)

// Reviewer answers the kinds that are only created: access and token reviews.
type Reviewer interface {
	Review(ctx context.Context, t Target, obj runtime.Object) (runtime.Object, error)
}

// Tokens issues service account tokens: the status of a TokenRequest.
type Tokens interface {
	Request(ctx context.Context, t Target, body runtime.Object) (runtime.Object, error)
}

// CreateSubresource carries out a POST to a subresource that has a kind of
// its own.
func (r *Registry) CreateSubresource(ctx context.Context, t Target, body runtime.Object, o *metav1.CreateOptions) (*Result, error) {
	dryRun := isDryRun(o.DryRun)
	if meta, ok := body.(metav1.Object); ok {
		if err := matchNamespace(&t, meta); err != nil {
			return nil, err
		}
	}
	attr := r.attributes(ctx, admission.Create, t, body, nil, o, dryRun)
	if err := r.Admission.Admit(ctx, attr); err != nil {
		return nil, err
	}
	validate := func() error { return r.Admission.Validate(ctx, attr) }
	switch t.Subresource {
	case "binding":
		return r.bind(ctx, t, body.(*corev1.Binding), validate, dryRun)
	case "eviction":
		return r.evict(ctx, t, body, validate, dryRun)
	case "token":
		if err := validate(); err != nil {
			return nil, err
		}
		answer, err := r.Tokens.Request(ctx, t, body)
		if err != nil {
			return nil, err
		}
		return &Result{Other: answer, Created: true}, nil
	}
	return nil, apierrors.NewMethodNotSupported(t.groupResource(), "create")
}

// Review answers a create of a kind that is not stored.
func (r *Registry) Review(ctx context.Context, t Target, obj runtime.Object, o *metav1.CreateOptions) (*Result, error) {
	if meta, ok := obj.(metav1.Object); ok {
		if err := matchNamespace(&t, meta); err != nil {
			return nil, err
		}
	}
	if b, ok := obj.(*corev1.Binding); ok {
		t.Name, t.Subresource = b.Name, "binding"
		pods, ok := r.Scheme.Resource("", "pods")
		if !ok {
			return nil, apierrors.NewMethodNotSupported(t.groupResource(), "create")
		}
		t.Resource = pods
		return r.CreateSubresource(ctx, t, obj, o)
	}
	if meta, ok := obj.(scheme.Object); ok {
		if err := r.Managers(t.Served, "").Create(meta, o.FieldManager, time.Now()); err != nil {
			return nil, err
		}
	}
	answer, err := r.Reviewer.Review(ctx, t, obj)
	if err != nil {
		return nil, err
	}
	return &Result{Other: answer, Created: true}, nil
}

// matchNamespace makes the namespace of the body that of the path.
func matchNamespace(t *Target, obj metav1.Object) error {
	switch ns := obj.GetNamespace(); {
	case ns == t.Namespace:
		return nil
	case ns == "":
		obj.SetNamespace(t.Namespace)
		return nil
	case t.Namespace == "":
		// Objects of the cluster lose a namespace without a word.
		obj.SetNamespace("")
		return nil
	}
	return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
}

// errPreconditionUID speaks of the storage key, as Kubernetes does.
func errPreconditionUID(key string, given, stored types.UID) error {
	return fmt.Errorf("StorageError: invalid object, Code: 4, Key: %s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: %v, UID in object meta: %v", key, given, stored)
}

// storageKey is the key in etcd below the usual prefix.
func (t *Target) storageKey() string {
	key := "/registry/" + t.StoragePrefix + "/"
	if t.Namespaced {
		key += t.Namespace + "/"
	}
	return key + t.Name
}
