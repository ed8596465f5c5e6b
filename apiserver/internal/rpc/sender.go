package rpc

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"xebec.dev/apiserver/internal/storage"
	pb "xebec.dev/proto/gen/control/v1"
)

// sender is one subscription. The stream's pump calls it.
type sender struct {
	ctx    context.Context
	w      *watchStream
	id     int64
	p      *projection
	cursor storage.Poller
	// gather is the least pause between batches, idle how long after one a
	// bookmark is due; 0 is none.
	gather, idle time.Duration
	changedOnly  bool
	done         chan error

	mu sync.Mutex // guards what follows; held while the cursor is read
	// initial is true until the initial objects have all been sent: before,
	// there is no revision to resume after.
	initial bool
	gone    bool
	sent    time.Time // the last batch
	due     time.Time // when to look again though nothing rang; zero is never
}

// leastIdle bounds how often a client may ask for bookmarks.
const leastIdle = 10 * time.Millisecond

// step sends a batch if there is one. It reports whether there may be more
// now.
func (s *sender) step() (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return false
	}
	more, err := s.try(time.Now())
	if err != nil {
		s.gone = true
		s.done <- err // has room
	}
	return more
}

func (s *sender) try(now time.Time) (more bool, err error) {
	defer s.w.recovered("Watch", &err)
	if s.due = s.sent.Add(s.gather); s.gather > 0 && now.Before(s.due) {
		return false, nil
	}
	events, err := s.cursor.Poll(s.ctx)
	if err != nil {
		return false, err
	}
	idle := s.idle > 0 && now.Sub(s.sent) >= s.idle-s.early()
	if told := s.worth(events); len(told) > 0 || idle {
		s.sent = now
		if err := s.send(told); err != nil {
			return false, err
		}
	}
	if s.due = s.sent.Add(s.gather); len(events) > 0 {
		return s.gather <= 0, nil
	}
	s.due = s.cursor.Due()
	if s.idle > 0 {
		s.due = sooner(s.due, s.sent.Add(s.idle))
	}
	return false, nil
}

// worth are the events to tell of: all, unless the subscriber wants to hear of
// changes to what it is sent alone.
func (s *sender) worth(events []storage.Event) []storage.Event {
	if !s.changedOnly {
		return events
	}
	return slices.DeleteFunc(events, func(e storage.Event) bool {
		return e.Old != nil && bytes.Equal(s.p.apply(e.Old.Raw), s.p.apply(e.Object.Raw))
	})
}

// early is how long before it is due a bookmark may go along with others: an
// idle client is then woken once for all its subscriptions.
func (s *sender) early() time.Duration { return s.idle / 2 }

// leave ends the sending. What is under way is done when it returns.
func (s *sender) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
}

// sooner is the earlier of two times; zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// send makes batches of about pageBytes. Events of one revision stay together.
func (s *sender) send(events []storage.Event) error {
	b := newBatch(s.id, len(events))
	for i := range events {
		e := &events[i]
		if e.Type == storage.Bookmark {
			b.initialEnd = b.initialEnd || e.InitialEventsEnd
			s.initial = s.initial && !e.InitialEventsEnd
			continue
		}
		if b.size >= pageBytes && (s.initial || events[i-1].Revision != e.Revision) {
			if !s.initial {
				b.revision = events[i-1].Revision
			}
			if err := s.w.deliver(b.encoded()); err != nil {
				return err
			}
			b = newBatch(s.id, len(events)-i)
		}
		b.add(eventTypes[e.Type], s.p.apply(e.Object.Raw), e.Revision)
	}
	if !s.initial {
		b.revision = s.cursor.Revision()
	}
	return s.w.deliver(b.encoded())
}

var eventTypes = [...]pb.Event_Type{storage.Added: pb.Event_ADDED, storage.Modified: pb.Event_MODIFIED, storage.Deleted: pb.Event_DELETED}

// batch is the wire form of a WatchResponse. The objects' bytes are not copied
// into it: what is between them is, in own, and parts are both in turn.
type batch struct {
	parts      Encoded
	own        []byte
	size       int // of all objects
	revision   int64
	initialEnd bool
}

const (
	// perEvent is what an event takes beside its object, at most about.
	perEvent = 48
	// copied are the objects that are as well copied as pointed to.
	copied = 256
)

func newBatch(id int64, events int) *batch {
	b := &batch{own: make([]byte, 0, 32+perEvent*events), parts: make(Encoded, 0, 1+2*events)}
	b.number(1, uint64(id))
	return b
}

func (b *batch) number(field protowire.Number, v uint64) {
	if v != 0 {
		b.own = protowire.AppendVarint(protowire.AppendTag(b.own, field, protowire.VarintType), v)
	}
}

func (b *batch) begin(field protowire.Number, size int) {
	b.own = protowire.AppendVarint(protowire.AppendTag(b.own, field, protowire.BytesType), uint64(size))
}

// add adds an Event with its Object.
func (b *batch) add(t pb.Event_Type, raw []byte, revision int64) {
	object := numberSize(revision)
	if len(raw) > 0 {
		object += 1 + protowire.SizeBytes(len(raw))
	}
	b.begin(2, numberSize(int64(t))+1+protowire.SizeBytes(object))
	b.number(1, uint64(t))
	b.begin(2, object)
	if len(raw) > 0 {
		b.begin(1, len(raw))
	}
	if len(raw) <= copied {
		b.own = append(b.own, raw...)
	} else {
		b.cut()
		b.parts = append(b.parts, mem.SliceBuffer(raw))
	}
	b.number(2, uint64(revision))
	b.size += len(raw)
}

// numberSize is how many bytes a number takes in a field below 16.
func numberSize(v int64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(uint64(v))
}

// cut makes a part of what is new in own.
func (b *batch) cut() {
	if n := len(b.own); n > 0 {
		b.parts = append(b.parts, mem.SliceBuffer(b.own[:n:n]))
		b.own = b.own[n:]
	}
}

func (b *batch) encoded() Encoded {
	b.number(3, uint64(b.revision))
	if b.initialEnd {
		b.number(4, 1)
	}
	b.cut()
	return b.parts
}
