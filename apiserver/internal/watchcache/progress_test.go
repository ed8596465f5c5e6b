package watchcache

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A shared read is never one that began before the caller came.
func TestReadIndex(t *testing.T) {
	var clock atomic.Int64
	var reads atomic.Int64
	r := readIndex{read: func(context.Context) (int64, error) {
		reads.Add(1)
		return clock.Load(), nil // what a read that begins now would see
	}}
	var wg sync.WaitGroup
	const callers, calls = 50, 400
	for range callers {
		wg.Go(func() {
			for range calls {
				before := clock.Add(1)
				got, err := r.get(context.Background())
				if err != nil || got < before {
					t.Errorf("got %d, %v, a write at %d was done before", got, err, before)
					return
				}
			}
		})
	}
	wg.Wait()
	if reads.Load() > callers*calls/2 {
		t.Logf("%d reads for %d calls", reads.Load(), callers*calls)
	}
}

func TestProgressWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p progress
		var nudges atomic.Int64
		results := make(chan bool, 3)
		for _, revision := range []int64{5, 6, 7} {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				results <- p.wait(ctx, revision, func() { nudges.Add(1) })
			}()
		}
		synctest.Wait()
		p.set(4)
		p.set(6)
		first, second := <-results, <-results
		if !first || !second {
			t.Error("those that were reached still wait")
		}
		if <-results {
			t.Error("7 was reached")
		}
		if n := nudges.Load(); n < 10 || n > 30 {
			t.Errorf("%d nudges in a second", n)
		}
		if len(p.waiters) != 0 {
			t.Errorf("%d waiters are left", len(p.waiters))
		}
		if !p.wait(t.Context(), 6, nil) {
			t.Error("6 was not reached")
		}
	})
}
