package client

import (
	"context"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Pauses before a write that a busy server refused is sent again. They double,
// and end within five seconds, the time between a leader's giving up and the
// end of its lease: what it decided must not come after its successor.
const (
	firstInsist = 20 * time.Millisecond
	mostInsist  = time.Second
	insistTries = 8
)

// Insist is Submit for a write that need not keep its place among others of
// the same object: when the server refuses it because it has too much to do
// (429, and nothing was done), it is sent again after a pause. done may be
// called on any goroutine. It is not for evictions, which a disruption budget
// refuses in the same words.
func (b *Batch) Insist(ctx context.Context, w *Write, done func(Result)) error {
	return b.insist(ctx, w, done, 0)
}

func (b *Batch) insist(ctx context.Context, w *Write, done func(Result), refused int) error {
	return b.Submit(ctx, w, func(r Result) {
		if refused >= insistTries || !apierrors.IsTooManyRequests(r.Err) {
			done(r)
			return
		}
		pause := min(firstInsist<<refused, mostInsist)
		time.AfterFunc(pause/2+rand.N(pause), func() {
			if err := b.insist(ctx, w, done, refused+1); err != nil {
				done(Result{Err: err})
			}
		})
	})
}
