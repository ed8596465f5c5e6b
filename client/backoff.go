package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is a pause that doubles from Min to Max, shortened by up to a
// fifth so that many clients do not return at once.
type backoff struct {
	Min, Max time.Duration
	next     time.Duration
}

// Reset starts again at Min.
func (b *backoff) Reset() { b.next = 0 }

// Sleep waits for the pause, or until ctx ends.
func (b *backoff) Sleep(ctx context.Context) error {
	b.next = min(max(b.next*2, b.Min), b.Max)
	t := time.NewTimer(b.next - rand.N(b.next/5+1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
