package watchcache

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// progress is the revision up to which every collection is complete, and
// those who wait for it to rise.
type progress struct {
	revision atomic.Int64

	mu sync.Mutex
	// guarded by mu
	waiters []waiter
}

type waiter struct {
	revision int64
	done     chan struct{}
}

func (p *progress) get() int64 { return p.revision.Load() }

// set is for the feed alone.
func (p *progress) set(revision int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision.Store(revision)
	left := p.waiters[:0]
	for _, w := range p.waiters {
		if w.revision <= revision {
			close(w.done)
		} else {
			left = append(left, w)
		}
	}
	clear(p.waiters[len(left):])
	p.waiters = left
}

// wait returns once revision is reached, false if ctx ends before. It calls
// nudge after a while, again and again: a revision that changed nothing in
// the watched prefix is not reported unless asked for.
func (p *progress) wait(ctx context.Context, revision int64, nudge func()) bool {
	if p.get() >= revision {
		return true
	}
	w := waiter{revision, make(chan struct{})}
	p.mu.Lock()
	if p.get() >= revision {
		p.mu.Unlock()
		return true
	}
	p.waiters = append(p.waiters, w)
	p.mu.Unlock()
	pause := 2 * time.Millisecond
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-w.done:
			return true
		case <-ctx.Done():
			p.forget(w.done)
			return p.get() >= revision
		case <-timer.C:
			nudge()
			pause = min(2*pause, 100*time.Millisecond)
			timer.Reset(pause)
		}
	}
}

func (p *progress) forget(done chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range p.waiters {
		if w.done == done {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			return
		}
	}
}

// readIndex shares linearizable reads of the newest revision: a caller takes
// part in the next one that starts after it came.
type readIndex struct {
	read func(context.Context) (int64, error)

	mu sync.Mutex
	// guarded by mu
	running bool
	next    *indexCall
}

type indexCall struct {
	done     chan struct{}
	revision int64
	err      error
}

// get asks by itself if nobody does: a lone reader is not handed from one
// goroutine to the next, which would cost more than the question.
func (r *readIndex) get(ctx context.Context) (int64, error) {
	r.mu.Lock()
	if !r.running {
		r.running = true
		r.mu.Unlock()
		revision, err := r.read(ctx)
		r.goOn()
		return revision, err
	}
	if r.next == nil {
		r.next = &indexCall{done: make(chan struct{})}
	}
	call := r.next
	r.mu.Unlock()
	select {
	case <-call.done:
		return call.revision, call.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// goOn asks for those who came during the question before.
func (r *readIndex) goOn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.running = false
		return
	}
	go r.run()
}

func (r *readIndex) run() {
	for {
		r.mu.Lock()
		call := r.next
		r.next = nil
		r.running = call != nil
		r.mu.Unlock()
		if call == nil {
			return
		}
		call.revision, call.err = r.read(context.Background())
		close(call.done)
	}
}
