package controller

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
)

// gate is a replica that syncs when told.
type gate struct{ open chan struct{} }

func (g gate) HasSynced() bool { return false }
func (g gate) WaitForSync(ctx context.Context) error {
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestReconcileLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var mu sync.Mutex
		var log []string
		note := func(text string) int {
			mu.Lock()
			defer mu.Unlock()
			log = append(log, text+" "+time.Since(began).String())
			return len(log)
		}
		failures := 2
		queue := workqueue.New("test", workqueue.Options[string]{BaseDelay: time.Second})
		synced := gate{make(chan struct{})}
		c := New("test", queue, Func[string](func(_ context.Context, key string) error {
			note(key)
			switch {
			case key == "fails" && failures > 0:
				failures--
				return errors.New("not yet")
			case key == "later":
				if time.Since(began) < 20*time.Second {
					return After(8 * time.Second)
				}
			}
			return nil
		}), Options[string]{Synced: []cache.Synced{synced}})
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		queue.Add("fails")
		time.Sleep(5 * time.Second)
		if note("synced") != 1 {
			t.Error("worked before the replicas had synced")
		}
		close(synced.open)
		synctest.Wait()
		queue.Add("later")
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("ended with %v", err)
		}
		want := []string{"synced 5s", "fails 5s", "later 5s", "fails 6s", "fails 8s", "later 13s", "later 21s"}
		if len(log) != len(want) {
			t.Fatalf("got %v, want %v", log, want)
		}
		for i := range want {
			if log[i] != want[i] {
				t.Errorf("step %d: got %s, want %s", i, log[i], want[i])
			}
		}
	})
}

func TestGivesUpAfterMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var n atomic.Int32
		queue := workqueue.New("test", workqueue.Options[string]{})
		c := New("test", queue, Func[string](func(context.Context, string) error { n.Add(1); return errors.New("never") }), Options[string]{MaxAttempts: 3})
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		queue.Add("a")
		time.Sleep(time.Hour)
		if n := n.Load(); n != 3 {
			t.Errorf("%d attempts", n)
		}
		queue.Add("a")
		time.Sleep(time.Hour)
		if n := n.Load(); n != 6 {
			t.Errorf("%d attempts after it was added again", n)
		}
		cancel()
		<-done
	})
}
