package etcd

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"xebec.dev/apiserver/internal/storage/kv"
)

// Watch starts a feed of the whole prefix.
func (s *Store) Watch(ctx context.Context, after int64) (kv.Feed, error) {
	r := s.watchRequest("", after, false)
	if l := s.watchOverLine(ctx, r); l != nil {
		return &feed{stream: l, after: after}, nil
	}
	w, err := s.watch(ctx, r)
	if err != nil {
		return nil, err
	}
	return &feed{stream: w, after: after}, nil
}

func (s *Store) watchRequest(prefix string, after int64, before bool) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key:            []byte(s.prefix + prefix),
		RangeEnd:       []byte(clientv3.GetPrefixRangeEnd(s.prefix + prefix)),
		StartRevision:  after + 1,
		ProgressNotify: true,
		PrevKv:         before,
		// A feed that catches up would get all it missed in one message.
		// Within the process there are no messages.
		Fragment: s.s.LocalRevision == nil,
	}}}
}

var progressRequest = &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}

// watch starts a watch by the client library.
func (s *Store) watch(ctx context.Context, r *pb.WatchRequest) (*libraryFeed, error) {
	// A member that lost its leader must say so, not fall silent.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	stream, err := s.s.Watch.Watch(ctx)
	if err == nil {
		err = stream.Send(r)
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch etcd: %w", err)
	}
	return &libraryFeed{s: s, stream: stream, cancel: cancel}, nil
}

// History reads a part of the past by a watch that ends. Such a watch comes
// into step with the others within a tenth of a second, and only then tells
// how far it is.
func (s *Store) History(ctx context.Context, prefix string, after, upTo int64, bytes int) ([]kv.Past, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	f, err := s.watch(ctx, s.watchRequest(prefix, after, true))
	if err != nil {
		return nil, err
	}
	defer f.stop()
	go func() {
		for ctx.Err() == nil && f.progress() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	var past []kv.Past
	for {
		r, err := f.response()
		if err != nil {
			return nil, fmt.Errorf("watch etcd: %w", err)
		}
		if r.Created || r.Canceled {
			if err := refusal(r.Canceled, r.CompactRevision, r.CancelReason); err != nil {
				return nil, err
			}
			continue
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

// refusal is why etcd ended a watch, nil if it did not.
func refusal(canceled bool, compacted int64, reason string) error {
	switch {
	case !canceled:
		return nil
	case compacted != 0:
		return &kv.Compacted{Revision: compacted}
	}
	return fmt.Errorf("watch etcd: %s", reason)
}

// stream is what a feed reads.
type stream interface {
	recv() (told, error)
	progress() error
	stop()
}

// libraryFeed is a watch by the client library.
type libraryFeed struct {
	s      *Store
	stream pb.Watch_WatchClient
	cancel context.CancelFunc
	// sending: the library takes one request at a time.
	sending sync.Mutex
}

func (f *libraryFeed) response() (*pb.WatchResponse, error) { return f.stream.Recv() }

func (f *libraryFeed) recv() (told, error) {
	r, err := f.response()
	if err != nil {
		return told{}, err
	}
	t := told{revision: r.Header.Revision, created: r.Created, canceled: r.Canceled, fragment: r.Fragment, compacted: r.CompactRevision, reason: r.CancelReason}
	if len(r.Events) > 0 {
		t.events = make([]kv.Event, len(r.Events))
	}
	for i, e := range r.Events {
		t.events[i] = f.s.event(e)
	}
	return t, nil
}

func (f *libraryFeed) progress() error {
	f.sending.Lock()
	defer f.sending.Unlock()
	return f.stream.Send(progressRequest)
}

func (f *libraryFeed) stop() { f.cancel() }

type feed struct {
	stream stream
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
		t, err := f.stream.recv()
		if err != nil {
			return kv.Batch{}, fmt.Errorf("watch etcd: %w", err)
		}
		if err := refusal(t.canceled, t.compacted, t.reason); err != nil {
			f.Close() // nothing more will come
			return kv.Batch{}, err
		}
		if t.created {
			continue
		}
		if len(t.events) == 0 && len(f.held) == 0 {
			if t.revision >= f.after {
				return kv.Batch{Revision: t.revision}, nil
			}
			continue
		}
		events := t.events
		if len(f.held) > 0 {
			events = append(f.held, events...)
			f.held = nil
		}
		if t.fragment {
			whole := len(events)
			for whole > 0 && events[whole-1].Revision == events[len(events)-1].Revision {
				whole--
			}
			f.held = append([]kv.Event(nil), events[whole:]...)
			for i := range f.held {
				f.held[i].Value = bytes.Clone(f.held[i].Value)
			}
			events = events[:whole]
		}
		if len(events) > 0 {
			f.after = events[len(events)-1].Revision
			return kv.Batch{Events: events, Revision: f.after}, nil
		}
	}
}

func (s *Store) event(e *mvccpb.Event) kv.Event {
	return kv.Event{
		Key:      string(e.Kv.Key[len(s.prefix):]),
		Value:    e.Kv.Value,
		Delete:   e.Type == mvccpb.Event_DELETE,
		Revision: e.Kv.ModRevision,
	}
}

func (f *feed) RequestProgress() error { return f.stream.progress() }

func (f *feed) Close() { f.stream.stop() }
