package object

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
)

// ConfigMap reads a config map. The error of one that does not exist reads
// `configmap "name" not found`.
func (s *Store) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	return read[*corev1.ConfigMap](ctx, s, Key{Kind: ConfigMap, Namespace: namespace, Name: name})
}

// Secret reads a secret. The error of one that does not exist reads
// `secret "name" not found`.
func (s *Store) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return read[*corev1.Secret](ctx, s, Key{Kind: Secret, Namespace: namespace, Name: name})
}

func read[T scheme.Object](ctx context.Context, s *Store, k Key) (T, error) {
	var none T
	if s == nil || s.c == nil {
		return none, ErrStandalone
	}
	if o, ok := s.kept(ctx, k); ok {
		return o.(T), nil
	}
	// A missing object may have been made a moment ago: only a fresh read
	// says that it does not exist.
	for try := 1; ; try++ {
		o, err := client.Get[T](ctx, s.c, k.Namespace, k.Name)
		switch {
		case err == nil:
			return o, nil
		case apierrors.IsNotFound(err):
			return none, k.notFound()
		case !apierrors.IsForbidden(err) || try == linkTries:
			return none, err
		}
		select {
		case <-time.After(linkPause):
		case <-ctx.Done():
			return none, err
		}
	}
}

// kept is the subscription's object, waiting for its beginning.
func (s *Store) kept(ctx context.Context, k Key) (scheme.Object, bool) {
	s.mu.Lock()
	e := s.entries[k]
	started := e != nil && e.cancel != nil
	s.mu.Unlock()
	if e == nil {
		return nil, false
	}
	if started {
		e.wait(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.missed = e.missed || !e.told
	return e.value, e.value != nil && e.err == nil
}

// wait waits for the subscription's beginning, for a while.
func (e *entry) wait(ctx context.Context) {
	t := time.NewTimer(subscribed)
	defer t.Stop()
	select {
	case <-e.synced:
	case <-t.C:
	case <-ctx.Done():
	}
}
