package owner

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/write"
)

// Kind says what an owner is, and how its objects are marked beyond the
// reference.
type Kind struct {
	schema.GroupVersionKind
	// Finalizers are added with adoption and taken off with release.
	Finalizers []string
}

// Changes reports whether a claim asks for writes.
func (c *Claim[T]) Changes() bool { return len(c.Adopt)+len(c.Release) > 0 }

// Apply adopts and releases. Before adopting, the owner is read anew: one that
// is being deleted, or has been replaced by another of its name, must not
// adopt. The writes are noted in the ledger under the owner's key: what was
// adopted counts once it is seen.
func Apply[O, T scheme.Object](ctx context.Context, w *write.Writer, l *write.Ledger[T], o O, kind Kind, c Claim[T]) error {
	if !c.Changes() {
		return nil
	}
	key := cache.KeyOf(o)
	if len(c.Adopt) > 0 {
		live, err := client.Get[O](ctx, w.Client, o.GetNamespace(), o.GetName(), client.ReadOptions{MetadataOnly: true})
		if err != nil {
			return fmt.Errorf("read %s %s before adopting: %w", kind.Kind, key, err)
		}
		if live.GetUID() != o.GetUID() {
			return fmt.Errorf("%s %s has been replaced: uid %s, was %s", kind.Kind, key, live.GetUID(), o.GetUID())
		}
		if at := live.GetDeletionTimestamp(); at != nil {
			return fmt.Errorf("%s %s has just been deleted at %s", kind.Kind, key, at)
		}
	}
	writes, err := c.writes(w.Client, o, kind)
	if err != nil {
		return err
	}
	results := w.All(ctx, writes)
	l.Wrote(key, results...)
	for i := range results {
		// Gone or another by now: the replica will say so.
		if err := results[i].Err; err != nil && !apierrors.IsNotFound(err) && !apierrors.IsInvalid(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("adopt or release for %s %s: %w", kind.Kind, key, err)
		}
	}
	return nil
}

func (c *Claim[T]) writes(cl *client.Client, o metav1.Object, kind Kind) ([]*client.Write, error) {
	ref := Ref(o, kind.GroupVersionKind)
	var out []*client.Write
	for _, obj := range c.Adopt {
		q, err := AdoptWrite(cl, ref, obj, kind.Finalizers...)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	for _, obj := range c.Release {
		q, err := ReleaseWrite(cl, o.GetUID(), obj, kind.Finalizers...)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, nil
}
