package kv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"xebec.dev/apiserver/internal/storage"
)

// Batcher groups writes that wait while others are under way into one
// transaction. A write that finds nothing under way goes at once and alone.
//
// docs/adr/0002-grouped-writes.md says what a shared revision means for
// readers.
type Batcher struct {
	store Store
	o     BatcherOptions

	mu sync.Mutex
	// guarded by mu
	queue   []*pending
	running int
	sent    time.Time   // the newest transaction
	well    time.Time   // when the newest that the store did was sent, zero if one failed since
	another *time.Timer // opens a slot for those who have waited enough
	armed   bool
}

// BatcherOptions bound a group; zero fields take the default.
type BatcherOptions struct {
	// Slots is the number of transactions under way at a time: 3.
	Slots int
	// Patience is how long writes wait for the transaction under way before
	// another one starts beside it: 10 ms, which is more than a transaction
	// takes on a good disk. What comes meanwhile shares it.
	Patience time.Duration
	// Ops and Bytes bound one transaction.
	Ops   int
	Bytes int
}

type pending struct {
	write  Write
	taken  bool // guarded by Batcher.mu
	done   chan struct{}
	rev    int64
	result Result
	err    error
}

// NewBatcher groups the writes to a store.
func NewBatcher(s Store, o BatcherOptions) *Batcher {
	if o.Slots == 0 {
		o.Slots = 3
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Millisecond
	}
	if o.Ops == 0 {
		o.Ops = 64
	}
	if o.Bytes == 0 {
		o.Bytes = 512 << 10
	}
	return &Batcher{store: s, o: o}
}

// Do writes one key. The errors are Store.Apply's; a write whose context ends
// before it was sent has not happened, after that its outcome is unknown.
func (b *Batcher) Do(ctx context.Context, w Write) (int64, Result, error) {
	b.mu.Lock()
	if b.running == 0 {
		return b.alone(ctx, w)
	}
	p := &pending{write: w, done: make(chan struct{})}
	b.queue = append(b.queue, p)
	b.start()
	b.mu.Unlock()
	select {
	case <-p.done:
		return p.rev, p.result, p.err
	case <-ctx.Done():
	}
	b.mu.Lock()
	taken := p.taken
	if !taken {
		b.remove(p)
	}
	b.mu.Unlock()
	if taken {
		return 0, Result{}, fmt.Errorf("%w: %w", storage.ErrUnknown, context.Cause(ctx))
	}
	return 0, Result{}, context.Cause(ctx)
}

// alone writes in the caller's goroutine: nobody needs to be woken for it. It
// is called with mu held, while nothing is under way.
func (b *Batcher) alone(ctx context.Context, w Write) (int64, Result, error) {
	b.running++
	begun := time.Now()
	b.sent = begun
	b.mu.Unlock()
	revision, results, err := b.store.Apply(ctx, []Write{w})
	b.mu.Lock()
	b.ended(begun, err)
	if len(b.queue) > 0 {
		go b.run()
	} else {
		b.running--
	}
	b.mu.Unlock()
	switch {
	case err == nil:
		return revision, results[0], nil
	case ctx.Err() != nil && errors.Is(err, storage.ErrUnknown):
		return 0, Result{}, fmt.Errorf("%w: %w", storage.ErrUnknown, context.Cause(ctx))
	}
	return 0, Result{}, err
}

// Well is when the newest transaction that the store did was sent: then it
// could write. Zero before the first, and when one has failed since.
func (b *Batcher) Well() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.well
}

// ended notes how a transaction went. It needs mu.
func (b *Batcher) ended(begun time.Time, err error) {
	if err != nil {
		begun = time.Time{}
	}
	b.well = begun
}

// start begins a transaction for the queue if it is time to, and else sees to
// it that one begins then. It needs mu.
func (b *Batcher) start() {
	if b.running >= b.o.Slots {
		return
	}
	wait := b.o.Patience - time.Since(b.sent)
	if b.running == 0 || wait <= 0 || len(b.queue) >= b.o.Ops {
		b.running++
		// Until it has taken its group, the next write is not to start one.
		b.sent = time.Now()
		go b.run()
		return
	}
	if b.armed {
		return
	}
	b.armed = true
	if b.another == nil {
		b.another = time.AfterFunc(wait, b.late)
	} else {
		b.another.Reset(wait)
	}
}

// late looks again at a queue that waits for a transaction under way.
func (b *Batcher) late() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.armed = false
	if len(b.queue) > 0 {
		b.start()
	}
}

func (b *Batcher) remove(p *pending) {
	for i, q := range b.queue {
		if q == p {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			return
		}
	}
}

// run sends groups until nobody waits.
func (b *Batcher) run() {
	for {
		b.mu.Lock()
		group := b.take()
		if len(group) == 0 {
			b.running--
			b.mu.Unlock()
			return
		}
		b.sent = time.Now()
		if len(b.queue) > 0 {
			b.start() // the group is full
		}
		b.mu.Unlock()
		b.send(group)
	}
}

// take picks the next group from the queue: the oldest write and those after
// it that fit. A key that is already in the group stays in the queue, so that
// writes of one key keep their order.
func (b *Batcher) take() []*pending {
	if len(b.queue) == 0 {
		return nil
	}
	group := make([]*pending, 0, min(len(b.queue), b.o.Ops))
	rest := b.queue[:0]
	bytes := 0
	var keys map[string]bool
	full := false
	for _, p := range b.queue {
		size := len(p.write.Key) + len(p.write.Value)
		if full || len(group) == b.o.Ops || (len(group) > 0 && bytes+size > b.o.Bytes) {
			full = true
			rest = append(rest, p)
			continue
		}
		if len(group) > 0 && keys == nil {
			keys = map[string]bool{group[0].write.Key: true}
		}
		if keys[p.write.Key] {
			rest = append(rest, p)
			continue
		}
		if keys != nil {
			keys[p.write.Key] = true
		}
		p.taken = true
		bytes += size
		group = append(group, p)
	}
	clear(b.queue[len(rest):])
	b.queue = rest
	return group
}

func (b *Batcher) send(group []*pending) {
	writes := make([]Write, len(group))
	for i, p := range group {
		writes[i] = p.write
	}
	// A group outlives any one of its callers; the store has a deadline of
	// its own.
	begun := time.Now()
	rev, results, err := b.store.Apply(context.Background(), writes)
	b.mu.Lock()
	b.ended(begun, err)
	b.mu.Unlock()
	if err != nil && len(group) > 1 && !errors.Is(err, storage.ErrUnknown) {
		// Nothing was written. One of them may be at fault: each on its own.
		for _, p := range group {
			b.send([]*pending{p})
		}
		return
	}
	for i, p := range group {
		p.rev, p.err = rev, err
		if err == nil {
			p.result = results[i]
		}
		close(p.done)
	}
}
