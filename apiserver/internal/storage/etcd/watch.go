package etcd

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"xebec.dev/apiserver/internal/storage/kv"
)

// Watch starts a feed of the whole prefix.
func (s *Store) Watch(ctx context.Context, after int64) (kv.Feed, error) {
	// A member that lost its leader must say so, not fall silent.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	stream, err := s.s.Watch.Watch(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch etcd: %w", err)
	}
	err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key:            []byte(s.prefix),
		RangeEnd:       []byte(clientv3.GetPrefixRangeEnd(s.prefix)),
		StartRevision:  after + 1,
		ProgressNotify: true,
		// A feed that catches up would get all it missed in one message.
		// Within the process there are no messages.
		Fragment: s.s.LocalRevision == nil,
	}}})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch etcd: %w", err)
	}
	return &feed{stream: stream, cancel: cancel, prefix: len(s.prefix), after: after}, nil
}

type feed struct {
	stream pb.Watch_WatchClient
	cancel context.CancelFunc
	prefix int
	after  int64
	// held are the events of a revision that goes on in the next fragment.
	held []kv.Event
}

// Recv passes etcd's responses on, whole revisions at a time: only fragments
// split one. The header's revision is how far the feed has come only in a
// response without events: a feed that catches up has a header far ahead of
// its events.
func (f *feed) Recv() (kv.Batch, error) {
	for {
		r, err := f.stream.Recv()
		if err != nil {
			return kv.Batch{}, fmt.Errorf("watch etcd: %w", err)
		}
		switch {
		case r.Canceled && r.CompactRevision != 0:
			return kv.Batch{}, &kv.Compacted{Revision: r.CompactRevision}
		case r.Canceled:
			return kv.Batch{}, fmt.Errorf("watch etcd: %w", errors.New(r.CancelReason))
		case r.Created:
			continue
		case len(r.Events) == 0 && len(f.held) == 0:
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
		events = append(events, kv.Event{
			Key:      string(e.Kv.Key[f.prefix:]),
			Value:    e.Kv.Value,
			Delete:   e.Type == mvccpb.Event_DELETE,
			Revision: e.Kv.ModRevision,
		})
	}
	return events
}

func (f *feed) RequestProgress() error {
	return f.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

func (f *feed) Close() { f.cancel() }
