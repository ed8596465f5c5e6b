package rest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestStreamsRestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams.Add(100) // 5 ms: beats of 4
		defer streams.Add(-100)
		ended := make(chan time.Time, 2)
		for _, after := range []time.Duration{0, time.Millisecond} {
			go func() {
				time.Sleep(after)
				rest(t.Context(), time.Now())
				ended <- time.Now()
			}()
		}
		a, b := <-ended, <-ended
		if !a.Equal(b) || a.UnixMilli()%4 != 0 {
			t.Errorf("woke at %v and %v, want one beat", a, b)
		}
		time.Sleep(time.Second)
		begun := time.Now()
		rest(t.Context(), a)
		if !time.Now().Equal(begun) {
			t.Error("an idle stream waited")
		}
		if beats.mu.Lock(); len(beats.waiting) != 0 {
			t.Error("beats are kept")
		}
		beats.mu.Unlock()
	})
}

func TestRestEndsWithItsContext(t *testing.T) {
	streams.Add(2000)
	defer streams.Add(-2000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rest(ctx, time.Now())
}

func TestWatchdogCutsSlowDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := 0
		w := newWatchdog(func() { cut++ })
		for range 100 {
			w.begin()
			time.Sleep(patience / 2)
			w.end()
		}
		if cut != 0 {
			t.Fatal("cut a stream that kept up")
		}
		w.begin()
		time.Sleep(2*patience + time.Second)
		if cut != 1 {
			t.Errorf("cut %d times, want once", cut)
		}
		w = newWatchdog(func() { cut++ })
		w.begin()
		w.stop()
		time.Sleep(3 * patience)
		if cut != 1 {
			t.Error("cut after its end")
		}
	})
}
