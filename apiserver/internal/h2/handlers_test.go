package h2

import (
	"net/http"
	"sync/atomic"
	"testing"
)

// holding answers /alive, and holds what is under /hold until the test ends.
// Others are echoed.
func holding(t testing.TB) http.Handler {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/alive":
		case "/hold":
			select {
			case <-end:
			case <-r.Context().Done():
			}
		default:
			echo(w, r)
		}
	})
}

// counted holds handlers that don't notice that their client is gone.
type counted struct {
	now, most atomic.Int64
	release   chan struct{}
}

func (c *counted) ServeHTTP(http.ResponseWriter, *http.Request) {
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for m := c.most.Load(); n > m && !c.most.CompareAndSwap(m, n); m = c.most.Load() {
	}
	<-c.release
}
