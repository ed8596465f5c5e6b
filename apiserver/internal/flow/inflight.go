// Package flow bounds the requests being served at once, reads and writes
// apart, so that a flood costs a 429 and not the server.
package flow

import (
	"context"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/apiserver/internal/request"
)

// InFlight is max-in-flight flow control. Watches and streams hold no place:
// they are cursors.
type InFlight struct {
	reads, writes chan struct{}
	// Changed is told of each place taken and given back.
	Changed func(mutating bool, by float64)
	// LongRunning is told of watches and streams that begin and end; nil is nobody.
	LongRunning func(r *request.Request, by float64)

	active atomic.Int64
}

// Active is how many requests are being served, watches and streams aside.
func (f *InFlight) Active() int64 { return f.active.Load() }

// New makes a limiter; 0 is no limit.
func New(reads, writes int, changed func(mutating bool, by float64)) *InFlight {
	if changed == nil {
		changed = func(bool, float64) {}
	}
	return &InFlight{reads: places(reads), writes: places(writes), Changed: changed}
}

func places(n int) chan struct{} {
	if n <= 0 {
		return nil
	}
	return make(chan struct{}, n)
}

var readVerbs = map[string]bool{"get": true, "list": true, "head": true}

// Enter takes a place or refuses with 429; the system's masters always enter.
func (f *InFlight) Enter(_ context.Context, r *request.Request) (func(), error) {
	if longRunning(&r.Info) {
		if f.LongRunning == nil {
			return func() {}, nil
		}
		f.LongRunning(r, 1)
		return func() { f.LongRunning(r, -1) }, nil
	}
	mutating := !readVerbs[r.Verb]
	ch := f.reads
	if mutating {
		ch = f.writes
	}
	if ch == nil {
		return f.count(mutating, nil), nil
	}
	select {
	case ch <- struct{}{}:
		return f.count(mutating, ch), nil
	default:
	}
	for _, g := range r.User.Groups {
		if g == "system:masters" {
			return f.count(mutating, nil), nil
		}
	}
	return nil, apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
}

func (f *InFlight) count(mutating bool, ch chan struct{}) func() {
	f.active.Add(1)
	f.Changed(mutating, 1)
	return func() {
		f.active.Add(-1)
		f.Changed(mutating, -1)
		if ch != nil {
			<-ch
		}
	}
}

func longRunning(i *request.Info) bool {
	if i.Verb == "watch" || i.Verb == "proxy" {
		return true
	}
	switch i.Subresource {
	case "attach", "exec", "proxy", "log", "portforward":
		return true
	}
	return false
}
