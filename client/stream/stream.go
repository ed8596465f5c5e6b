// Package stream carries all subscriptions of a component over one Watch
// stream, opens them again where they were when the stream breaks, and starts
// them over when the server no longer has what came since.
//
// A Stream's Run owns the connection; each Subscription is read by one
// goroutine of its owner's. A reader that falls behind holds the stream back
// once its small buffer is full: readers must not wait for anything else
// while they read.
package stream

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	pb "xebec.dev/proto/gen/control/v1"
)

// Times of the stream.
const (
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
	// maxUnavailable is between tries where a server is there and not yet ready.
	maxUnavailable = time.Second
	// steady is how long a stream must last for the next pause to be short.
	steady = 10 * time.Second
	// bookmarkEvery bounds the age of an idle replica. The server sends those
	// of a stream together: an idle component is woken this often by them.
	bookmarkEvery = time.Minute
	// buffered batches per subscription.
	buffered = 8
)

// Options of a stream; the zero value works.
type Options struct {
	Log *zap.Logger
	// Gather lets the server collect events for up to this long, for fewer
	// and larger batches.
	Gather time.Duration
}

// Stream is one Watch stream with its subscriptions.
type Stream struct {
	api pb.ObjectsClient
	o   Options

	connects atomic.Int64

	mu   sync.Mutex
	subs []*Subscription // guarded by mu, in order of Add
	live *live           // guarded by mu; nil while there is no connection
}

// live is one connection's share of the state.
type live struct {
	api  pb.Objects_WatchClient
	ctx  context.Context
	send sync.Mutex // held while sending

	byID   map[int64]*Subscription // guarded by Stream.mu
	lastID int64                   // guarded by Stream.mu
}

// New makes a stream; nothing happens before Run.
func New(c *client.Client, o Options) *Stream {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Stream{api: c.Objects(), o: o}
}

// Connects counts the streams opened so far.
func (s *Stream) Connects() int64 { return s.connects.Load() }

// Request says what to subscribe to.
type Request struct {
	Resource   *pb.Resource
	Selection  client.Selection
	Projection *pb.Projection
	// ChangedOnly leaves out modifications of what the projection leaves out.
	ChangedOnly bool
	// After is a revision to start after; 0 starts with the current objects.
	After int64
}

// Batch is what a subscription delivers.
type Batch struct {
	// Reset: the initial objects follow from here; forget those of an
	// earlier, unfinished round.
	Reset  bool
	Events []*pb.Event
	// Revision up to which the subscription is complete, 0 amid the initial
	// objects.
	Revision int64
	// InitialEnd: the initial objects are complete.
	InitialEnd bool
	// Err is why the server refuses the subscription (Forbidden…). It is
	// asked again, ever less often.
	Err      error
	Received time.Time
}

// Subscription is one subscription of a stream.
type Subscription struct {
	s       *Stream
	request Request
	batches chan Batch
	closed  chan struct{}
	once    sync.Once

	// Guarded by s.mu.
	id    int64 // on the live connection; 0 when not open there
	after int64 // resume here
	reset bool  // the next batch begins a round of initial objects
	tries int   // refusals in a row
}

// Add makes a subscription, which opens as soon as the stream is connected.
func (s *Stream) Add(r Request) *Subscription {
	sub := &Subscription{
		s: s, request: r, after: r.After, batches: make(chan Batch, buffered), closed: make(chan struct{}),
	}
	s.mu.Lock()
	s.subs = append(s.subs, sub)
	l := s.live
	var q *pb.WatchRequest
	if l != nil {
		q = s.open(l, sub)
	}
	s.mu.Unlock()
	if q != nil {
		l.sendOne(q)
	}
	return sub
}

// Next waits for a batch.
func (sub *Subscription) Next(ctx context.Context) (Batch, error) {
	select {
	case b := <-sub.batches:
		return b, nil
	case <-ctx.Done():
		return Batch{}, ctx.Err()
	}
}

// Waiting is how many batches wait to be read.
func (sub *Subscription) Waiting() int { return len(sub.batches) }

// Close ends the subscription.
func (sub *Subscription) Close() {
	sub.once.Do(func() { close(sub.closed) })
	s := sub.s
	s.mu.Lock()
	s.subs = slices.DeleteFunc(s.subs, func(o *Subscription) bool { return o == sub })
	l, id := s.live, sub.id
	sub.id = 0
	if l != nil && id != 0 {
		delete(l.byID, id)
	}
	s.mu.Unlock()
	if l != nil && id != 0 {
		l.sendOne(&pb.WatchRequest{Id: id, Action: &pb.WatchRequest_Unsubscribe{Unsubscribe: &pb.Unsubscribe{}}})
	}
}

// open gives the request that opens sub on l. It needs the lock.
func (s *Stream) open(l *live, sub *Subscription) *pb.WatchRequest {
	l.lastID++
	sub.id = l.lastID
	sub.reset = sub.after == 0
	l.byID[sub.id] = sub
	return &pb.WatchRequest{Id: sub.id, Action: &pb.WatchRequest_Subscribe{Subscribe: &pb.Subscribe{
		Resource: sub.request.Resource, Selection: sub.request.Selection.Proto(), Projection: sub.request.Projection,
		AfterRevision:        sub.after,
		BookmarkMilliseconds: int32(bookmarkEvery.Milliseconds()),
		GatherMilliseconds:   int32(s.o.Gather.Milliseconds()),
		ChangedOnly:          sub.request.ChangedOnly,
	}}}
}

func (l *live) sendOne(q *pb.WatchRequest) {
	l.send.Lock()
	defer l.send.Unlock()
	_ = l.api.Send(q) // the stream's end shows at Recv
}

// Run keeps the stream open until ctx ends.
func (s *Stream) Run(ctx context.Context) error {
	pause := minPause
	for {
		began := time.Now()
		err := s.connection(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.o.Log.Debug("watch stream ended", zap.Error(err))
		if time.Since(began) > steady {
			pause = minPause
		}
		if err := rest(ctx, pause); err != nil {
			return err
		}
		pause = min(pause*2, maxPause)
	}
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connection is the life of one stream.
func (s *Stream) connection(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	api, err := s.api.Watch(ctx, grpc.WaitForReady(true))
	if err != nil {
		return client.FromError(err)
	}
	s.connects.Add(1)
	l := &live{api: api, ctx: ctx, byID: map[int64]*Subscription{}}
	s.mu.Lock()
	s.live = l
	requests := make([]*pb.WatchRequest, 0, len(s.subs))
	for _, sub := range s.subs {
		requests = append(requests, s.open(l, sub))
	}
	s.mu.Unlock()
	defer s.disconnect(l)
	running.Go(func() {
		for _, q := range requests {
			l.sendOne(q)
		}
	})
	for {
		res, err := api.Recv()
		if err != nil {
			return client.FromError(err)
		}
		if res.Ended != nil {
			s.ended(&running, l, res)
			continue
		}
		s.deliver(l, res)
	}
}

func (s *Stream) disconnect(l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = nil
	for _, sub := range l.byID {
		sub.id = 0
	}
}

// deliver hands a batch to its reader, and waits when the reader is behind.
func (s *Stream) deliver(l *live, res *pb.WatchResponse) {
	s.mu.Lock()
	sub := l.byID[res.Id]
	if sub == nil {
		s.mu.Unlock()
		return // closed meanwhile
	}
	b := Batch{Reset: sub.reset, Events: res.Events, Revision: res.Revision, InitialEnd: res.InitialEnd, Received: time.Now()}
	// Amid the initial objects there is nothing to resume from.
	initial := sub.after == 0 && !res.InitialEnd
	if initial {
		b.Revision = 0
	}
	s.mu.Unlock()
	if !sub.put(l.ctx, b) {
		return // the next connection delivers it again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.reset, sub.tries = false, 0
	sub.after = max(sub.after, b.Revision)
}

// put reports whether the reader will see the batch.
func (sub *Subscription) put(ctx context.Context, b Batch) bool {
	select {
	case sub.batches <- b:
		return true
	case <-sub.closed:
	case <-ctx.Done():
	}
	return false
}

// ended decides how a subscription that the server ended goes on.
func (s *Stream) ended(running *sync.WaitGroup, l *live, res *pb.WatchResponse) {
	err := client.FromStatus(res.Ended)
	s.mu.Lock()
	sub := l.byID[res.Id]
	if sub == nil {
		s.mu.Unlock()
		return
	}
	delete(l.byID, res.Id)
	sub.id = 0
	pause := time.Duration(0)
	expired := apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
	switch {
	case expired && sub.after > 0:
		sub.after = 0
	case apierrors.IsTimeout(err):
		// Its time is up: go on where it was.
	case apierrors.IsServiceUnavailable(err):
		// It is starting, or waits for etcd: that ends at any moment.
		pause = min(minPause<<min(sub.tries, 10), maxUnavailable)
		sub.tries++
	default:
		pause = min(minPause<<min(sub.tries, 10), maxPause*6)
		sub.tries++
	}
	refused := !expired && !apierrors.IsTimeout(err) && !apierrors.IsServiceUnavailable(err)
	s.mu.Unlock()
	if refused {
		sub.put(l.ctx, Batch{Err: fmt.Errorf("subscribe to %s: %w", sub.request.Resource.GetResource(), err), Received: time.Now()})
	}
	running.Go(func() { s.reopen(l, sub, pause) })
}

func (s *Stream) reopen(l *live, sub *Subscription, pause time.Duration) {
	if pause > 0 && rest(l.ctx, pause) != nil {
		return // the next connection opens all
	}
	s.mu.Lock()
	var q *pb.WatchRequest
	if s.live == l && sub.id == 0 && slices.Contains(s.subs, sub) {
		q = s.open(l, sub)
	}
	s.mu.Unlock()
	if q != nil {
		l.sendOne(q)
	}
}
