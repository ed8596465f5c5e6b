package revision

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/write"
)

// Ledger of revisions.
type Ledger = write.Ledger[*appsv1.ControllerRevision]

// Apply writes what the history asks for, and gives the current revision as it
// is then. A name that is taken by another template is a collision: the owner's
// count of them has to go up.
func (h *History) Apply(ctx context.Context, w *write.Writer) (current *appsv1.ControllerRevision, collision bool, err error) {
	switch {
	case h.Create:
		current, err = client.Create(ctx, w.Client, h.Current)
		if apierrors.IsAlreadyExists(err) {
			have, err := client.Get[*appsv1.ControllerRevision](ctx, w.Client, h.Current.Namespace, h.Current.Name)
			if err != nil {
				return nil, false, fmt.Errorf("read the revision that has the new one's name: %w", err)
			}
			if string(have.Data.Raw) == string(h.Current.Data.Raw) {
				return have, false, nil // made before and not yet seen
			}
			return nil, true, nil
		}
	case h.Bump:
		current, err = client.Update(ctx, w.Client, h.Current)
	default:
		return h.Current, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("revision %s/%s: %w", h.Current.Namespace, h.Current.Name, err)
	}
	return current, false, nil
}

// Remove deletes revisions of the past.
func Remove(ctx context.Context, w *write.Writer, l *Ledger, key cache.Key, old []*appsv1.ControllerRevision) error {
	for _, r := range old {
		err := client.Delete[*appsv1.ControllerRevision](ctx, w.Client, r.Namespace, r.Name, client.DeleteOptions{UID: r.UID})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete revision %s/%s: %w", r.Namespace, r.Name, err)
		}
		l.Deleted(key, r)
	}
	return nil
}
