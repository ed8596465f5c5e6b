package rpc

import (
	"context"
	"errors"
	"time"

	"xebec.dev/apiserver/internal/storage"
	pb "xebec.dev/proto/gen/control/v1"
)

// sender reads one subscription's cursor and sends what it finds.
type sender struct {
	w      *watchStream
	id     int64
	p      *projection
	cursor storage.Watcher
	// initial is true until the initial objects have all been sent: before,
	// there is no revision to resume after.
	initial bool
}

// leastBookmark bounds how often a client may ask for bookmarks.
const leastBookmark = 10 * time.Millisecond

func (s *sender) run(ctx context.Context, gather, bookmark time.Duration) error {
	if bookmark > 0 {
		bookmark = max(bookmark, leastBookmark)
	}
	var last time.Time
	for {
		if err := rest(ctx, gather-time.Since(last)); err != nil {
			return err
		}
		events, err := s.next(ctx, bookmark)
		if err != nil {
			return err
		}
		if err := s.send(events); err != nil {
			return err
		}
		last = time.Now()
	}
}

var errIdle = errors.New("nothing happened")

// next waits for events; none means that a bookmark is due.
func (s *sender) next(ctx context.Context, bookmark time.Duration) ([]storage.Event, error) {
	if bookmark <= 0 {
		return s.cursor.Next(ctx)
	}
	idle, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer time.AfterFunc(bookmark, func() { cancel(errIdle) }).Stop()
	events, err := s.cursor.Next(idle)
	if !errors.Is(err, errIdle) {
		return events, err
	}
	// Once more, without waiting, to see how far the store has come.
	if events, err = s.cursor.Next(idle); errors.Is(err, errIdle) {
		return nil, nil
	}
	return events, err
}

// send makes batches of about pageBytes. Events of one revision stay together.
func (s *sender) send(events []storage.Event) error {
	r := &pb.WatchResponse{Id: s.id}
	size := 0
	for i := range events {
		e := &events[i]
		if e.Type == storage.Bookmark {
			r.InitialEnd = r.InitialEnd || e.InitialEventsEnd
			s.initial = s.initial && !e.InitialEventsEnd
			continue
		}
		n := len(r.Events)
		if size >= pageBytes && (s.initial || events[i-1].Revision != e.Revision) {
			if !s.initial {
				r.Revision = events[i-1].Revision
			}
			if err := s.w.deliver(r); err != nil {
				return err
			}
			r, size, n = &pb.WatchResponse{Id: s.id}, 0, 0
		}
		if n == 0 {
			r.Events = make([]*pb.Event, 0, len(events)-i)
		}
		raw := s.p.apply(e.Object.Raw)
		size += len(raw)
		r.Events = append(r.Events, &pb.Event{Type: eventTypes[e.Type], Object: &pb.Object{Raw: raw, Revision: e.Revision}})
	}
	if !s.initial {
		r.Revision = s.cursor.Revision()
	}
	return s.w.deliver(r)
}

var eventTypes = [...]pb.Event_Type{storage.Added: pb.Event_ADDED, storage.Modified: pb.Event_MODIFIED, storage.Deleted: pb.Event_DELETED}
