package image

import (
	"context"
	"sync"
	"time"
)

// rate is how often registries are asked: so many times in a row, and then so
// many each second. Those that come too soon wait for their turn, in order.
type rate struct {
	each  time.Duration // between two
	burst int

	mu   sync.Mutex
	next time.Time // guarded by mu: when all that has begun has had its time
}

// newRate makes a rate; nil, for 0 in a second, is no limit.
func newRate(perSecond, burst int) *rate {
	if perSecond <= 0 {
		return nil
	}
	return &rate{each: time.Second / time.Duration(perSecond), burst: max(burst, 1)}
}

// turn waits until it may be asked.
func (r *rate) turn(ctx context.Context, now time.Time) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	if r.next.Before(now) {
		r.next = now
	}
	r.next = r.next.Add(r.each)
	wait := r.next.Sub(now) - time.Duration(r.burst)*r.each
	r.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		r.next = r.next.Add(-r.each) // the turn is another's
		r.mu.Unlock()
		return ctx.Err()
	}
}
