package admission

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// Fetch finds an object in the cache, or, when a client is faster than the
// cache, in a fresh read. The object is shared: read-only.
func Fetch(ctx context.Context, reader storage.Reader, store storage.Store, r *scheme.Resource, namespace, name string) (scheme.Object, error) {
	if o, ok := reader.Get(r, namespace, name); ok {
		return o, nil
	}
	stored, err := store.Collection(r).Get(ctx, namespace, name, storage.Fresh, 0)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, apierrors.NewNotFound(r.GroupResource(), name)
	}
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	o := r.New().(scheme.Object)
	if err := o.Unmarshal(stored.Raw); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return o, nil
}
