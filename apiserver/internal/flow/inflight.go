// Package flow bounds the requests being served at once, reads and writes
// apart, so that a flood costs a 429 and not the server. Those for whom there is
// no place wait for a while, and users take turns.
package flow

import (
	"context"
	"slices"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/apiserver/internal/request"
)

// InFlight is max-in-flight flow control. Watches and streams hold no place:
// they are cursors.
type InFlight struct {
	reads, writes *places
	// Changed is told of each place taken and given back.
	Changed func(mutating bool, by float64)
	// LongRunning is told of watches and streams that begin and end; nil is nobody.
	LongRunning func(r *request.Request, by float64)

	active atomic.Int64
}

// Active is how many requests are being served or wait for that, watches and
// streams aside.
func (f *InFlight) Active() int64 { return f.active.Load() }

// New makes a limiter; 0 is no limit.
func New(reads, writes int, changed func(mutating bool, by float64)) *InFlight {
	if changed == nil {
		changed = func(bool, float64) {}
	}
	return &InFlight{reads: newPlaces(reads), writes: newPlaces(writes), Changed: changed}
}

var readVerbs = map[string]bool{"get": true, "list": true, "head": true}

// Enter takes a place, waiting for one if it must, or refuses with 429; the
// system's masters enter at once, always.
func (f *InFlight) Enter(ctx context.Context, r *request.Request) (func(), error) {
	if longRunning(&r.Info) {
		if f.LongRunning == nil {
			return func() {}, nil
		}
		f.LongRunning(r, 1)
		return func() { f.LongRunning(r, -1) }, nil
	}
	mutating := !readVerbs[r.Verb]
	p := f.reads
	if mutating {
		p = f.writes
	}
	f.active.Add(1)
	switch {
	case p == nil:
	case slices.Contains(r.User.Groups, "system:masters"):
		if !p.takeFree() {
			p = nil
		}
	case !p.take(ctx, lineOf(r)):
		f.active.Add(-1)
		return nil, apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
	}
	f.Changed(mutating, 1)
	return func() {
		f.Changed(mutating, -1)
		if p != nil {
			p.give()
		}
		f.active.Add(-1)
	}, nil
}

// lineOf is where a request waits: with its user's others; but for who keeps a
// lease, whose life hangs on it, in a line for these.
func lineOf(r *request.Request) string {
	if r.Group == "coordination.k8s.io" && r.Resource == "leases" {
		return "lease of " + r.User.Name
	}
	return "user " + r.User.Name
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
