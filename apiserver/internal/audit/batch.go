package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// BatchOptions say how events are gathered.
type BatchOptions struct {
	BufferSize int
	MaxSize    int
	MaxWait    time.Duration
	Throttle   bool
	QPS        float32
	Burst      int
}

// batching gathers events and writes them in the background. When its buffer
// is full events are lost: requests do not wait for it.
type batching struct {
	BatchOptions
	to      sink
	onError func(error)
	events  chan *Event
	lost    atomic.Int64
	senders int
}

// errBufferFull is told once for a run of lost events.
var errBufferFull = errors.New("audit: the buffer is full, events are lost")

func newBatching(to sink, o BatchOptions, senders int, onError func(error)) *batching {
	return &batching{BatchOptions: o, to: to, onError: onError, events: make(chan *Event, max(o.BufferSize, 1)), senders: senders}
}

func (b *batching) Process(events ...*Event) bool {
	for _, e := range events {
		select {
		case b.events <- e:
		default:
			if b.lost.Add(1)&1023 == 1 {
				b.onError(fmt.Errorf("%w: %d so far", errBufferFull, b.lost.Load()))
			}
		}
	}
	return true
}

// drain is how long what is left may take at the end.
const drain = 10 * time.Second

func (b *batching) Run(ctx context.Context) error {
	limit := newBucket(b.BatchOptions)
	places := make(chan struct{}, b.senders)
	var wg sync.WaitGroup
	send := func(ctx context.Context, batch []*Event) {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if err := b.to.write(ctx, batch); err != nil {
				b.lost.Add(int64(len(batch)))
				b.onError(fmt.Errorf("audit: %w", err))
			}
		})
	}
	for ctx.Err() == nil {
		if batch := b.gather(ctx); len(batch) > 0 {
			limit.wait(ctx)
			send(context.WithoutCancel(ctx), batch)
		}
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	for {
		batch := b.rest()
		if len(batch) == 0 {
			break
		}
		send(ending, batch)
	}
	wg.Wait()
	return nil
}

// gather waits for a first event, and then for a full batch or the time.
func (b *batching) gather(ctx context.Context) (batch []*Event) {
	select {
	case e := <-b.events:
		batch = append(batch, e)
	case <-ctx.Done():
		return nil
	}
	timer := time.NewTimer(b.MaxWait)
	defer timer.Stop()
	for len(batch) < b.MaxSize {
		select {
		case e := <-b.events:
			batch = append(batch, e)
		case <-timer.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

// rest takes what is there without waiting.
func (b *batching) rest() (batch []*Event) {
	for len(batch) < max(b.MaxSize, 1) {
		select {
		case e := <-b.events:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// bucket limits batches per second. It belongs to one goroutine.
type bucket struct {
	every  time.Duration
	burst  int
	tokens int
	last   time.Time
}

func newBucket(o BatchOptions) *bucket {
	if !o.Throttle || o.QPS <= 0 {
		return &bucket{}
	}
	return &bucket{every: time.Duration(float64(time.Second) / float64(o.QPS)), burst: max(o.Burst, 1), tokens: max(o.Burst, 1), last: time.Now()}
}

func (k *bucket) wait(ctx context.Context) {
	if k.every == 0 {
		return
	}
	now := time.Now()
	if n := int(now.Sub(k.last) / k.every); n > 0 {
		k.tokens, k.last = min(k.tokens+n, k.burst), k.last.Add(time.Duration(n)*k.every)
	}
	if k.tokens > 0 {
		k.tokens--
		return
	}
	select {
	case <-time.After(k.last.Add(k.every).Sub(now)):
		k.last = k.last.Add(k.every)
	case <-ctx.Done():
	}
}
