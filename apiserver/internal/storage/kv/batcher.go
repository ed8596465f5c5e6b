package kv

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"xebec.dev/apiserver/internal/storage"
)

// Batcher groups writes that wait while others are under way into one
// transaction. A write that finds a free slot goes at once and alone.
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
}

// BatcherOptions bound a group; zero fields take the default.
type BatcherOptions struct {
	// Slots is the number of transactions under way at a time.
	Slots int
	// Ops and Bytes bound one transaction.
	Ops   int
	Bytes int
}

type pending struct {
	write  Write
	ctx    context.Context
	taken  bool // guarded by Batcher.mu
	done   chan struct{}
	rev    int64
	result Result
	err    error
}

// NewBatcher groups the writes to a store.
func NewBatcher(s Store, o BatcherOptions) *Batcher {
	if o.Slots == 0 {
		o.Slots = 2
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
	p := &pending{write: w, ctx: ctx, done: make(chan struct{})}
	b.mu.Lock()
	b.queue = append(b.queue, p)
	if b.running < b.o.Slots {
		b.running++
		go b.run()
	}
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
	ctx := context.Background()
	if len(group) == 1 {
		ctx = context.WithoutCancel(group[0].ctx)
	}
	rev, results, err := b.store.Apply(ctx, writes)
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
