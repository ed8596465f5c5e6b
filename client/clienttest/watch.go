package clienttest

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/scheme"
	pb "xebec.dev/proto/gen/control/v1"
)

// batchEvents is about how many events go into one response.
const batchEvents = 256

// Watch implements pb.ObjectsServer.
func (s *Server) Watch(api pb.Objects_WatchServer) error {
	if err := s.intercept(api.Context(), "Watch", nil); err != nil {
		return statusError(err)
	}
	w := &watch{Server: s, api: api, open: map[int64]context.CancelFunc{}}
	ctx, cancel := context.WithCancel(api.Context())
	defer w.running.Wait()
	defer cancel()
	for {
		q, err := api.Recv()
		if err != nil {
			return nil // the client is gone, or done
		}
		w.mu.Lock()
		if end := w.open[q.Id]; end != nil {
			end()
			delete(w.open, q.Id)
		}
		sub := q.GetSubscribe()
		if sub == nil {
			w.mu.Unlock()
			continue
		}
		subCtx, end := context.WithCancel(ctx)
		w.open[q.Id] = end
		w.mu.Unlock()
		w.running.Go(func() {
			defer end()
			if err := w.subscription(subCtx, q.Id, sub); err != nil && subCtx.Err() == nil {
				w.mu.Lock()
				delete(w.open, q.Id)
				w.mu.Unlock()
				_ = w.deliver(&pb.WatchResponse{Id: q.Id, Ended: packStatus(err)}) // the end shows at Recv
			}
		})
	}
}

type watch struct {
	*Server
	api     pb.Objects_WatchServer
	running sync.WaitGroup

	mu   sync.Mutex
	open map[int64]context.CancelFunc // guarded by mu
	send sync.Mutex                   // held while sending
}

func (w *watch) deliver(r *pb.WatchResponse) error {
	w.send.Lock()
	defer w.send.Unlock()
	return w.api.Send(r)
}

func (w *watch) subscription(ctx context.Context, id int64, q *pb.Subscribe) error {
	if err := w.intercept(ctx, "Subscribe", q); err != nil {
		return err
	}
	r, err := w.resource(q.Resource)
	if err != nil {
		return err
	}
	sel, err := newSelector(r, q.Selection)
	if err != nil {
		return err
	}
	after := q.AfterRevision
	if after == 0 {
		if after, err = w.initial(id, r, sel); err != nil {
			return err
		}
	}
	return w.follow(ctx, id, r, sel, q, after)
}

func (w *watch) initial(id int64, r *scheme.Resource, sel *selector) (int64, error) {
	w.store.mu.Lock()
	list, revision := w.store.list(r, sel), w.store.revision
	w.store.mu.Unlock()
	for len(list) > 0 {
		n := min(len(list), batchEvents)
		res := &pb.WatchResponse{Id: id}
		for _, o := range list[:n] {
			res.Events = append(res.Events, &pb.Event{Type: pb.Event_ADDED, Object: o.wire()})
		}
		list = list[n:]
		if err := w.deliver(res); err != nil {
			return 0, err
		}
	}
	return revision, w.deliver(&pb.WatchResponse{Id: id, Revision: revision, InitialEnd: true})
}

func (w *watch) follow(ctx context.Context, id int64, r *scheme.Resource, sel *selector, q *pb.Subscribe, after int64) error {
	every := time.Duration(q.BookmarkMilliseconds) * time.Millisecond
	if every <= 0 {
		every = time.Minute
	}
	bookmark := time.NewTicker(every)
	defer bookmark.Stop()
	for {
		changes, revision, next, ok := w.store.since(resourceKey(r), after)
		if !ok {
			return apierrors.NewResourceExpired("The resourceVersion for the provided watch is too old.")
		}
		after = max(after, revision)
		res := &pb.WatchResponse{Id: id, Revision: after}
		for i := range changes {
			if e := event(&changes[i], sel); e != nil {
				res.Events = append(res.Events, e)
			}
		}
		if len(res.Events) > 0 {
			if err := w.deliver(res); err != nil {
				return err
			}
		}
		select {
		case <-next:
		case <-bookmark.C:
			if err := w.deliver(&pb.WatchResponse{Id: id, Revision: after}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// event is what a change is for those who select: an object that comes into
// or leaves the selection is added or deleted.
func event(c *change, sel *selector) *pb.Event {
	was, is := sel.matches(c.old), sel.matches(c.now)
	switch {
	case is && was:
		return &pb.Event{Type: pb.Event_MODIFIED, Object: c.now.wire()}
	case is:
		return &pb.Event{Type: pb.Event_ADDED, Object: c.now.wire()}
	case was:
		return &pb.Event{Type: pb.Event_DELETED, Object: &pb.Object{Raw: c.old.raw, Revision: c.revision}}
	}
	return nil
}
