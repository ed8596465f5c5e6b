package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"xebec.dev/apiserver/internal/storage/kv"
)

// Watch starts a feed of the whole prefix.
func (s *Store) Watch(ctx context.Context, after int64) (kv.Feed, error) {
	return s.watch(ctx, "", after, false)
}

func (s *Store) watch(ctx context.Context, prefix string, after int64, before bool) (*feed, error) {
	// A member that lost its leader must say so, not fall silent.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	stream, err := s.s.Watch.Watch(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch etcd: %w", err)
	}
	err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key:            []byte(s.prefix + prefix),
		RangeEnd:       []byte(clientv3.GetPrefixRangeEnd(s.prefix + prefix)),
		StartRevision:  after + 1,
		ProgressNotify: true,
		PrevKv:         before,
		// A feed that catches up would get all it missed in one message.
		// Within the process there are no messages.
		Fragment: s.s.LocalRevision == nil,
	}}})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch etcd: %w", err)
	}
	return &feed{s: s, stream: stream, cancel: cancel, after: after}, nil
}

// History reads a part of the past by a watch that ends. Such a watch comes
// into step with the others within a tenth of a second, and only then tells
// how far it is.
func (s *Store) History(ctx context.Context, prefix string, after, upTo int64, bytes int) ([]kv.Past, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	f, err := s.watch(ctx, prefix, after, true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	go func() {
		for ctx.Err() == nil && f.RequestProgress() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	var past []kv.Past
	for {
		r, err := f.recv()
		if err != nil {
			return nil, err
		}
		if len(r.Events) == 0 {
			if r.Header.Revision >= upTo {
				return past, nil
			}
			continue
		}
		for _, e := range r.Events {
			if e.Kv.ModRevision > upTo {
				return past, nil
			}
			p := kv.Past{Event: s.event(e)}
			bytes -= len(e.Kv.Value)
			if e.PrevKv != nil {
				before := s.entry(e.PrevKv)
				p.Before = &before
				bytes -= len(before.Value)
			}
			if bytes < 0 {
				return nil, kv.ErrTooLarge
			}
			past = append(past, p)
		}
	}
}

type feed struct {
	s      *Store
	stream pb.Watch_WatchClient
	cancel context.CancelFunc
	after  int64
	// held are the events of a revision that goes on in the next fragment.
	held []kv.Event
}

// recv is the next response that is not about the watch itself.
func (f *feed) recv() (*pb.WatchResponse, error) {
	for {
		r, err := f.stream.Recv()
		switch {
		case err != nil:
			return nil, fmt.Errorf("watch etcd: %w", err)
		case r.Canceled && r.CompactRevision != 0:
			return nil, &kv.Compacted{Revision: r.CompactRevision}
		case r.Canceled:
			return nil, fmt.Errorf("watch etcd: %w", errors.New(r.CancelReason))
		case !r.Created:
			return r, nil
		}
	}
}

// Recv passes etcd's responses on, whole revisions at a time: only fragments
// split one. The header's revision is how far the feed has come only in a
// response without events: a feed that catches up has a header far ahead of
// its events.
func (f *feed) Recv() (kv.Batch, error) {
	for {
		r, err := f.recv()
		if err != nil {
			return kv.Batch{}, err
		}
		if len(r.Events) == 0 && len(f.held) == 0 {
			if r.Header.Revision >= f.after {
				return kv.Batch{Revision: r.Header.Revision}, nil
			}
			continue
		}
		events := f.events(r.Events)
		if r.Fragment {
			whole := len(events)
			for whole > 0 && events[whole-1].Revision == events[len(events)-1].Revision {
				whole--
			}
			f.held = append([]kv.Event(nil), events[whole:]...)
			events = events[:whole]
		}
		if len(events) > 0 {
			f.after = events[len(events)-1].Revision
			return kv.Batch{Events: events, Revision: f.after}, nil
		}
	}
}

// events are those held back and a response's.
func (f *feed) events(more []*mvccpb.Event) []kv.Event {
	events := make([]kv.Event, len(f.held), len(f.held)+len(more))
	copy(events, f.held)
	f.held = nil
	for _, e := range more {
		events = append(events, f.s.event(e))
	}
	return events
}

func (s *Store) event(e *mvccpb.Event) kv.Event {
	return kv.Event{
		Key:      string(e.Kv.Key[len(s.prefix):]),
		Value:    e.Kv.Value,
		Delete:   e.Type == mvccpb.Event_DELETE,
		Revision: e.Kv.ModRevision,
	}
}

func (f *feed) RequestProgress() error {
	return f.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

func (f *feed) Close() { f.cancel() }
