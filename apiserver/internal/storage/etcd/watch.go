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
}

// Recv passes etcd's responses on. Without fragments a revision is never
// split over two of them. The header's revision is how far the feed has come
// only in a response without events: a feed that catches up has a header far
// ahead of its events.
func (f *feed) Recv() (kv.Batch, error) {
	for {
		r, err := f.stream.Recv()
		if err != nil {
			return kv.Batch{}, fmt.Errorf("watch etcd: %w", err)
		}
		if r.Canceled {
			if r.CompactRevision != 0 {
				return kv.Batch{}, &kv.Compacted{Revision: r.CompactRevision}
			}
			return kv.Batch{}, fmt.Errorf("watch etcd: %w", errors.New(r.CancelReason))
		}
		switch {
		case r.Created:
			continue
		case len(r.Events) == 0:
			if r.Header.Revision < f.after {
				continue
			}
			return kv.Batch{Revision: r.Header.Revision}, nil
		}
		b := kv.Batch{Events: make([]kv.Event, len(r.Events))}
		for i, e := range r.Events {
			b.Events[i] = kv.Event{
				Key:      string(e.Kv.Key[f.prefix:]),
				Value:    e.Kv.Value,
				Delete:   e.Type == mvccpb.Event_DELETE,
				Revision: e.Kv.ModRevision,
			}
		}
		b.Revision = b.Events[len(b.Events)-1].Revision
		f.after = b.Revision
		return b, nil
	}
}

func (f *feed) RequestProgress() error {
	return f.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

func (f *feed) Close() { f.cancel() }
