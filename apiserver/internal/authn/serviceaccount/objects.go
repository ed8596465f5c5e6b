package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// Getter reads one object as it is now, not as a cache has it. The error of
// an absent object is the API's NotFound.
type Getter func(ctx context.Context, r *scheme.Resource, namespace, name string) (scheme.Object, error)

// objects is how the live objects behind tokens are found.
type objects struct {
	reader storage.Reader
	fresh  Getter

	accounts, pods, nodes, secrets *scheme.Resource
}

func newObjects(reader storage.Reader, fresh Getter, s *scheme.Scheme) objects {
	find := func(plural string) *scheme.Resource {
		r, ok := s.Resource("", plural)
		if !ok {
			panic("serviceaccount: the table has no " + plural)
		}
		return r
	}
	return objects{reader, fresh, find("serviceaccounts"), find("pods"), find("nodes"), find("secrets")}
}

// get looks in the cache, and where it is not there yet in storage: a token
// may be used a moment after its service account was made.
func (o *objects) get(ctx context.Context, r *scheme.Resource, namespace, name string) (scheme.Object, error) {
	if obj, ok := o.reader.Get(r, namespace, name); ok {
		return obj, nil
	}
	return o.fresh(ctx, r, namespace, name)
}

var errInvalidated = errors.New("service account token has been invalidated")

// gone reports whether an object is being deleted for so long that tokens
// bound to it end.
func gone(deletion *metav1.Time, now time.Time) bool {
	return deletion != nil && deletion.Time.Before(now.Add(-leeway))
}

// account checks that the service account of a token is there and the same.
func (o *objects) account(ctx context.Context, namespace string, ref Ref, now time.Time) (*corev1.ServiceAccount, error) {
	obj, err := o.get(ctx, o.accounts, namespace, ref.Name)
	if err != nil {
		return nil, err
	}
	a := obj.(*corev1.ServiceAccount)
	if gone(a.DeletionTimestamp, now) {
		return nil, errors.New("service account token has been invalidated")
	}
	if string(a.UID) != ref.UID {
		return nil, fmt.Errorf("service account UID (%s) does not match claim (%s)", a.UID, ref.UID)
	}
	return a, nil
}

// check checks one bound object by its kind's resource.
func (o *objects) check(ctx context.Context, r *scheme.Resource, namespace string, ref *Ref, now time.Time) error {
	if ref == nil {
		return nil
	}
	obj, err := o.get(ctx, r, namespace, ref.Name)
	if err != nil {
		return errInvalidated
	}
	if gone(obj.GetDeletionTimestamp(), now) {
		return errInvalidated
	}
	if string(obj.GetUID()) != ref.UID {
		return fmt.Errorf("%s UID (%s) does not match service account %s ref claim (%s)", r.Singular, obj.GetUID(), r.Singular, ref.UID)
	}
	return nil
}

func aggregate(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return utilerrors.NewAggregate(errs)
}
