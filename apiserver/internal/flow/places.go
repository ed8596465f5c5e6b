package flow

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Bounds of waiting: a flood costs refusals, and neither memory nor anybody
// else's turn.
const (
	maxWaiting = 1000 // in all; as many again that are the first of their lines
	maxOfOne   = 250  // of one line
	// maxWait is a quarter of the default request timeout, as Kubernetes has it.
	maxWait = 15 * time.Second
)

// places are for requests that are served at once. Those for whom there is none
// wait, and users take turns: who asks much waits behind his own requests, and
// delays another by one at most for each user that waits.
type places struct {
	mu      sync.Mutex
	free    int              // zero while anybody waits
	waiting int              // requests
	lines   map[string]*line // those in which anybody waits
	turns   []*line          // the same; the first is next
}

// line is where requests wait in their order, those of one user.
type line struct {
	name    string
	waiters []*waiter
}

type waiter struct {
	called chan struct{} // closed once it has a place
}

// newPlaces is nil, which is no limit, for 0.
func newPlaces(n int) *places {
	if n <= 0 {
		return nil
	}
	return &places{free: n, lines: map[string]*line{}}
}

// take gives a place, now or when the line's turn has come. It gives none when
// too many wait, or when the wait takes too long.
func (p *places) take(ctx context.Context, line string) bool {
	if p.takeFree() {
		return true
	}
	w := p.wait(line)
	if w == nil {
		return false
	}
	t := time.NewTimer(maxWait)
	defer t.Stop()
	select {
	case <-w.called:
		return true
	case <-ctx.Done():
	case <-t.C:
	}
	return !p.leave(line, w) // called in this very moment, perhaps
}

// takeFree takes a place if one is free.
func (p *places) takeFree() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == 0 {
		return false
	}
	p.free--
	return true
}

// wait puts a request into its line; nil when it can't be.
func (p *places) wait(name string) *waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &waiter{called: make(chan struct{})}
	if p.free > 0 { // since takeFree
		p.free--
		close(w.called)
		return w
	}
	l := p.lines[name]
	// A few who ask for everything must not keep out the rest, whose turns come
	// soon: nodes and leaders with their leases.
	if p.waiting >= maxWaiting && (l != nil || p.waiting >= 2*maxWaiting) || l != nil && len(l.waiters) >= maxOfOne {
		return nil
	}
	if l == nil {
		l = &line{name: name}
		p.lines[name], p.turns = l, append(p.turns, l)
	}
	l.waiters = append(l.waiters, w)
	p.waiting++
	return w
}

// leave takes a request out of its line. It reports false for one that is in
// none any more: it has a place.
func (p *places) leave(name string, w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[name]
	if l == nil {
		return false
	}
	i := slices.Index(l.waiters, w)
	if i < 0 {
		return false
	}
	l.waiters = slices.Delete(l.waiters, i, i+1)
	p.waiting--
	if len(l.waiters) == 0 {
		p.close(l)
	}
	return true
}

func (p *places) close(l *line) {
	delete(p.lines, l.name)
	p.turns = slices.DeleteFunc(p.turns, func(o *line) bool { return o == l })
}

// give hands a place to the next line's first request, or keeps it free.
func (p *places) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.turns) == 0 {
		p.free++
		return
	}
	l := p.turns[0]
	w := l.waiters[0]
	l.waiters = slices.Delete(l.waiters, 0, 1)
	p.waiting--
	copy(p.turns, p.turns[1:])
	if p.turns[len(p.turns)-1] = l; len(l.waiters) == 0 {
		p.turns[len(p.turns)-1] = nil
		p.turns = p.turns[:len(p.turns)-1]
		delete(p.lines, l.name)
	}
	close(w.called)
}
