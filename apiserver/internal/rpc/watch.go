package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/storage"
	pb "xebec.dev/proto/gen/control/v1"
)

// maxSubscriptions of one stream.
const maxSubscriptions = 1000

// Watch implements pb.ObjectsServer: one goroutine reads the cursors of all
// subscriptions and sends; those of each only begin it and wait for its end.
func (s *Server) Watch(stream pb.Objects_WatchServer) error {
	w := &watchStream{Server: s, stream: stream, open: map[int64]context.CancelFunc{}}
	w.pump = newPump()
	ctx, cancel := context.WithCancel(stream.Context())
	defer w.running.Wait()
	defer cancel()
	w.running.Go(func() { w.pump.run(ctx) })
	if s.Draining != nil {
		go func() {
			select {
			case <-ctx.Done():
			case <-s.Draining:
				cancel()
			}
		}()
	}
	requests, failed := receive(ctx, stream.Recv)
	for {
		select {
		case <-ctx.Done():
			return statusError(shuttingDown())
		case err := <-failed:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case q := <-requests:
			w.handle(ctx, q)
		}
	}
}

type watchStream struct {
	*Server
	stream  pb.Objects_WatchServer
	running sync.WaitGroup
	pump    *pump

	mu   sync.Mutex
	open map[int64]context.CancelFunc // guarded by mu
	send sync.Mutex                   // held while sending
}

func (w *watchStream) handle(ctx context.Context, q *pb.WatchRequest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q.GetUnsubscribe() != nil {
		if cancel := w.open[q.Id]; cancel != nil {
			cancel()
			delete(w.open, q.Id)
		}
		return
	}
	sub := q.GetSubscribe()
	switch {
	case sub == nil:
		w.ended(q.Id, apierrors.NewBadRequest("action: subscribe or unsubscribe is required"))
		return
	case w.open[q.Id] != nil:
		w.ended(q.Id, apierrors.NewBadRequest("id: the stream has a subscription of this id"))
		return
	case len(w.open) >= maxSubscriptions:
		w.ended(q.Id, apierrors.NewTooManyRequests("the stream has too many subscriptions", 1))
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	w.open[q.Id] = cancel
	w.running.Go(func() {
		defer cancel()
		err := w.subscription(ctx, q.Id, sub)
		w.mu.Lock()
		_, stillOpen := w.open[q.Id]
		delete(w.open, q.Id)
		w.mu.Unlock()
		if stillOpen && ctx.Err() == nil {
			w.ended(q.Id, err)
		}
	})
}

func (w *watchStream) ended(id int64, err error) {
	if err == nil {
		err = apierrors.NewInternalError(errors.New("the subscription ended"))
	}
	_ = w.deliver(&pb.WatchResponse{Id: id, Ended: unpackStatus(err)}) // the stream's end shows at Recv
}

// deliver sends a WatchResponse, or one whose wire form is made already.
func (w *watchStream) deliver(r any) error {
	w.send.Lock()
	defer w.send.Unlock()
	return w.stream.SendMsg(r)
}

// lifetime of a subscription: who may watch is asked again when the client
// opens it anew. Half of it is left to chance, so that clients come one by one.
const lifetime = time.Hour

func (w *watchStream) subscription(ctx context.Context, id int64, q *pb.Subscribe) (err error) {
	defer w.recovered("Watch", &err)
	t, err := w.resource(q.Resource)
	if err != nil {
		return err
	}
	o, err := selection(&t, q.Selection)
	if err != nil {
		return err
	}
	if q.AfterRevision < 0 {
		return apierrors.NewBadRequest("after_revision: may not be negative")
	}
	ctx, cancel := context.WithTimeout(ctx, lifetime/2+rand.N(lifetime/2))
	defer cancel()
	ctx, done, err := w.begin(ctx, selected(&t, "watch", q.Selection))
	if err != nil {
		return err
	}
	defer func() { done(err) }()
	p, err := w.projection(&t, q.Projection)
	if err != nil {
		return err
	}
	cursor, err := w.Registry.Subscribe(ctx, t, o, q.AfterRevision)
	if err != nil {
		return err
	}
	defer cursor.Close()
	poller, ok := cursor.(storage.Poller)
	if !ok {
		return fmt.Errorf("the cursor of %s cannot be polled", t.Plural)
	}
	err = w.pump.deliver(&sender{
		ctx: ctx, w: w, id: id, p: p, cursor: poller, initial: q.AfterRevision == 0, changedOnly: q.ChangedOnly, done: make(chan error, 1),
		gather: time.Duration(q.GatherMilliseconds) * time.Millisecond, idle: time.Duration(q.BookmarkMilliseconds) * time.Millisecond,
	})
	return registry.Status(err, t.GroupResource(), "")
}
