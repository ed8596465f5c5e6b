package dependents

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/write"
)

// WriteStatus writes an owner's status and notes it in the ledger. An owner
// that is gone needs none; a conflict asks for another look.
func WriteStatus[T scheme.Object](ctx context.Context, e *control.Env, l *write.Ledger[T], now T) error {
	q, err := client.UpdateWrite(e.Client, now, client.WriteOptions{Subresource: "status", OmitObject: true})
	if err != nil {
		return err
	}
	res := e.Write.Do(ctx, q)
	l.Wrote(cache.KeyOf(now), res)
	if apierrors.IsNotFound(res.Err) {
		return nil
	}
	return control.Retry(res.Err)
}
