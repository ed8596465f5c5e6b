package control

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client/controller"
)

// conflictPause gives the replica time to catch up.
const conflictPause = 20 * time.Millisecond

// Retry is how a Reconcile ends after a write: a conflict means that what was
// decided is of yesterday, which is no failure but a reason to look again.
func Retry(err error) error {
	if apierrors.IsConflict(err) {
		return controller.After(conflictPause)
	}
	return err
}

// Later asks for another look after d; none when d is 0.
func Later(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	return controller.After(d)
}

// unsettledPause is for safety: what is missing in a replica usually comes
// within milliseconds, and brings the next look with it.
const unsettledPause = time.Second

// Unsettled is how a Reconcile ends that must wait for its own writes to show.
func Unsettled() error { return controller.After(unsettledPause) }

// Every runs f now and then each period, until ctx ends.
func Every(ctx context.Context, period time.Duration, f func(ctx context.Context)) error {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		f(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
