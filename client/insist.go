package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Pauses before a write that a busy server refused is sent again; they double.
const (
	firstInsist = 20 * time.Millisecond
	mostInsist  = time.Second
)

// insistFor is how long after Insist a write may be sent again. It is less
// than the five seconds between a leader's giving up and the end of its lease:
// what it decided must not be sent after its successor has begun. A server may
// take many seconds for a refusal, so it is the clock that counts, not tries.
const insistFor = 4 * time.Second

// Insist is Submit for a write that need not keep its place among others of
// the same object: when the server refuses it because it has too much to do
// (429, and nothing was done), it is sent again after a pause, for up to four
// seconds; then the refusal is the result. done may be called on any
// goroutine. It is not for evictions, which a disruption budget refuses in the
// same words.
func (b *Batch) Insist(ctx context.Context, w *Write, done func(Result)) error {
	i := &insistence{b: b, ctx: ctx, write: w, done: done, until: time.Now().Add(insistFor), pause: firstInsist}
	return b.Submit(ctx, w, i.answered)
}

// insistence is one write's.
type insistence struct {
	b     *Batch
	ctx   context.Context
	write *Write
	done  func(Result)
	until time.Time
	pause time.Duration // before the next sending
}

func (i *insistence) answered(r Result) {
	pause := i.pause/2 + rand.N(i.pause)
	if !apierrors.IsTooManyRequests(r.Err) || time.Now().Add(pause).After(i.until) {
		i.done(r)
		return
	}
	i.pause = min(2*i.pause, mostInsist)
	time.AfterFunc(pause, func() { i.again(r) })
}

// again sends once more what had the answer refused, which remains the answer
// when the time is over before there is room, or a connection.
func (i *insistence) again(refused Result) {
	ctx, cancel := context.WithDeadline(i.ctx, i.until)
	defer cancel()
	err := i.b.submit(ctx, &pending{write: i.write, done: i.answered, until: i.until, late: refused.Err})
	switch {
	case err == nil:
	case i.ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		i.done(refused)
	default:
		i.done(Result{Err: err})
	}
}
