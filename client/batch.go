package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	pb "xebec.dev/proto/gen/control/v1"
)

// defaultInFlight is how many writes of a batch may be under way: enough to
// keep a server busy over a slow link, few enough to bound what is lost track
// of when a connection breaks.
const defaultInFlight = 1024

// Result is the outcome of one write of a batch.
type Result struct {
	Response *pb.WriteResponse
	// Err is an API error, or wraps ErrOutcomeUnknown, or says why the write
	// was never sent.
	Err error
}

// Batch sends many writes over one stream. Writes to the same object run in
// the order of their submission, others in any.
//
// When the connection breaks, writes that were sent and not answered are
// reported as ErrOutcomeUnknown and never repeated; those not yet sent wait
// for the next connection. A server that shuts down in order answers what it
// has begun and says that it did no more: the rest is sent again elsewhere.
type Batch struct {
	c       *Client
	places  chan struct{}
	waiting chan *pending
	stopped chan struct{}
	once    sync.Once

	// Owned by Run.
	again []*pending // to send before anything of waiting, in order

	mu     sync.Mutex
	flight map[int64]*pending // guarded by mu: handed to the stream
	ended  error              // guarded by mu: set when Run has returned
	nextID int64              // guarded by mu
}

type pending struct {
	id    int64
	write *Write
	done  func(Result)
	// until, unless zero, is when it is too late to send; late is the result
	// then.
	until time.Time
	late  error
}

// NewBatch makes a batch that holds up to inFlight writes at once; 0 is a
// default. Nothing is sent before Run.
func NewBatch(c *Client, inFlight int) *Batch {
	if inFlight <= 0 {
		inFlight = defaultInFlight
	}
	return &Batch{
		c: c, places: make(chan struct{}, inFlight), waiting: make(chan *pending, inFlight),
		stopped: make(chan struct{}), flight: map[int64]*pending{},
	}
}

// errBatchEnded is why a write was not sent.
var errBatchEnded = errors.New("the batch has ended")

// Submit hands over a write; done is called once with its result, on the
// batch's goroutine: it must not block. Submit waits while too many writes
// are under way. An error means that done will not be called.
func (b *Batch) Submit(ctx context.Context, w *Write, done func(Result)) error {
	return b.submit(ctx, &pending{write: w, done: done})
}

func (b *Batch) submit(ctx context.Context, p *pending) error {
	select {
	case b.places <- struct{}{}:
	case <-b.stopped:
		return errBatchEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	if size := proto.Size(p.write.request(0)); size > maxSend {
		<-b.places
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxSend))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended != nil {
		<-b.places
		return b.ended
	}
	b.nextID++
	p.id = b.nextID
	b.waiting <- p // has room: a place each
	return nil
}

// Future is the result of a write to come.
type Future struct{ ch chan Result }

// Wait gives the result, again to each caller. When ctx ends first the write
// goes on.
func (f *Future) Wait(ctx context.Context) (*pb.WriteResponse, error) {
	select {
	case r := <-f.ch:
		f.ch <- r
		return r.Response, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Go is Submit with a future.
func (b *Batch) Go(ctx context.Context, w *Write) (*Future, error) {
	f := &Future{ch: make(chan Result, 1)}
	if err := b.Submit(ctx, w, func(r Result) { f.ch <- r }); err != nil {
		return nil, err
	}
	return f, nil
}

// Do submits a write and waits for it.
func (b *Batch) Do(ctx context.Context, w *Write) (*pb.WriteResponse, error) {
	f, err := b.Go(ctx, w)
	if err != nil {
		return nil, err
	}
	return f.Wait(ctx)
}

// Run sends until ctx ends. Writes then still waiting fail with its error,
// those sent with ErrOutcomeUnknown.
func (b *Batch) Run(ctx context.Context) error {
	defer b.end()
	wait := backoff{Min: 20 * time.Millisecond, Max: 5 * time.Second}
	for ctx.Err() == nil {
		began := time.Now()
		err := b.stream(ctx)
		b.settle(err)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > wait.Max {
			wait.Reset()
		}
		if err := wait.Sleep(ctx); err != nil {
			break
		}
	}
	return ctx.Err()
}

// stream is one connection's life. It returns how the stream ended, when
// nothing uses it any more.
func (b *Batch) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := b.c.objects.Mutate(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		for {
			res, err := s.Recv()
			if err != nil {
				cancel()
				ended <- err
				return
			}
			b.answer(res)
		}
	}()
	b.sendAll(ctx, s)
	cancel()
	return <-ended
}

// sendAll sends until the stream or ctx ends.
func (b *Batch) sendAll(ctx context.Context, s pb.Objects_MutateClient) {
	for {
		var p *pending
		if len(b.again) > 0 {
			p, b.again = b.again[0], b.again[1:]
		} else {
			select {
			case p = <-b.waiting:
			case <-ctx.Done():
				return
			}
		}
		if !p.until.IsZero() && time.Now().After(p.until) {
			b.finish(p, Result{Err: p.late})
			continue
		}
		b.mu.Lock()
		b.flight[p.id] = p
		b.mu.Unlock()
		if err := s.Send(p.write.request(p.id)); err != nil {
			return // Recv has the reason
		}
	}
}

func (b *Batch) answer(res *pb.MutateResponse) {
	b.mu.Lock()
	p := b.flight[res.Id]
	delete(b.flight, res.Id)
	b.mu.Unlock()
	if p == nil {
		return
	}
	if f := res.GetFailed(); f != nil {
		err := FromStatus(f)
		b.finish(p, Result{Err: timeoutUnknown(err)})
		return
	}
	b.finish(p, Result{Response: res.GetDone()})
}

// settle decides about the writes that a stream left without an answer.
func (b *Batch) settle(err error) {
	b.mu.Lock()
	left := make([]*pending, 0, len(b.flight))
	for _, p := range b.flight {
		left = append(left, p)
	}
	clear(b.flight)
	b.mu.Unlock()
	slices.SortFunc(left, func(x, y *pending) int { return int(x.id - y.id) })
	if carriesStatus(err) {
		b.again = append(left, b.again...)
		return
	}
	for _, p := range left {
		b.finish(p, Result{Err: fmt.Errorf("%w: %w", ErrOutcomeUnknown, FromError(err))})
	}
}

func (b *Batch) finish(p *pending, r Result) {
	<-b.places
	p.done(r)
}

// end fails what has not been sent.
func (b *Batch) end() {
	b.mu.Lock()
	b.ended = errBatchEnded
	b.mu.Unlock()
	b.once.Do(func() { close(b.stopped) })
	for _, p := range b.again {
		b.finish(p, Result{Err: errBatchEnded})
	}
	b.again = nil
	for {
		select {
		case p := <-b.waiting:
			b.finish(p, Result{Err: errBatchEnded})
		default:
			return
		}
	}
}
