package etcd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"xebec.dev/apiserver/internal/storage/kv"
)

// watches is etcd's Watch service as far as a feed's behaviour needs it: it
// sends what it is given.
type watches struct {
	pb.UnimplementedWatchServer
	send   chan *pb.WatchResponse
	end    chan error
	mu     sync.Mutex
	leader []string // guarded by mu, as what follows
	asked  int      // for progress
	begun  int
}

func (w *watches) Watch(stream pb.Watch_WatchServer) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	w.mu.Lock()
	w.leader = md.Get("hasleader")
	w.begun++
	w.mu.Unlock()
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			if r.GetProgressRequest() != nil {
				w.mu.Lock()
				w.asked++
				w.mu.Unlock()
			}
			if c := r.GetCreateRequest(); c != nil {
				w.send <- &pb.WatchResponse{Created: true, Header: &pb.ResponseHeader{Revision: c.StartRevision}}
			}
		}
	}()
	for {
		select {
		case r := <-w.send:
			if err := stream.Send(r); err != nil {
				return err
			}
		case err := <-w.end:
			return err
		case <-stream.Context().Done():
			return nil
		}
	}
}

func newWatches(t *testing.T) (*watches, string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Millisecond}))
	w := &watches{send: make(chan *pb.WatchResponse, 100), end: make(chan error, 1)}
	pb.RegisterWatchServer(s, w)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return w, l.Addr().String()
}

func fed(t *testing.T, c Config) (*Store, kv.Feed) {
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	f, err := s.Watch(t.Context(), 6)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	if _, ok := f.(*feed).stream.(*lineFeed); !ok {
		t.Fatalf("the feed is a %T", f.(*feed).stream)
	}
	return s, f
}

func changed(key string, revision int64, value []byte) *mvccpb.Event {
	return &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("/registry/" + key), ModRevision: revision, Value: value}}
}

func receive(t *testing.T, f kv.Feed) kv.Batch {
	t.Helper()
	b, err := f.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Events of every size, alone and many in one message, deletions, fragments
// and progress.
func TestLineFeed(t *testing.T) {
	w, address := newWatches(t)
	_, f := fed(t, Config{Endpoints: []string{address}})
	revision := int64(7)
	for _, n := range []int{0, 1, 16<<10 - 20, 16 << 10, feedBuffer, 3 << 20, 8 << 20, 5} {
		var want []kv.Event
		r := &pb.WatchResponse{Header: &pb.ResponseHeader{Revision: revision + 5}}
		for i := range 1 + n%3 {
			value := bytes.Repeat([]byte{'a' + byte(i)}, n)
			e := changed(fmt.Sprint("pods/", n), revision, value)
			if n == 0 {
				e.Type, value = mvccpb.Event_DELETE, nil
			}
			r.Events = append(r.Events, e)
			want = append(want, kv.Event{Key: fmt.Sprint("pods/", n), Value: value, Revision: revision, Delete: n == 0})
			revision++
		}
		w.send <- r
		if b := receive(t, f); !reflect.DeepEqual(b.Events, want) || b.Revision != revision-1 {
			t.Fatalf("events of %d bytes: %d of them, up to %d, want %d up to %d", n, len(b.Events), b.Revision, len(want), revision-1)
		}
	}
	// A revision that two fragments share comes whole.
	w.send <- &pb.WatchResponse{Fragment: true, Events: []*mvccpb.Event{changed("a", 50, nil), changed("b", 51, nil)}}
	w.send <- &pb.WatchResponse{Events: []*mvccpb.Event{changed("c", 51, nil)}}
	if b := receive(t, f); len(b.Events) != 1 || b.Revision != 50 {
		t.Errorf("the first fragment: %v", b)
	}
	if b := receive(t, f); len(b.Events) != 2 || b.Revision != 51 {
		t.Errorf("the second fragment: %v", b)
	}
	// Several messages that come in one piece.
	for i := range 20 {
		w.send <- &pb.WatchResponse{Header: &pb.ResponseHeader{Revision: int64(60 + i)}}
	}
	for i := range 20 {
		if b := receive(t, f); b.Revision != int64(60+i) || len(b.Events) != 0 {
			t.Errorf("progress %d: %v", i, b)
		}
	}
	for range 3 {
		if err := f.RequestProgress(); err != nil {
			t.Error(err)
		}
	}
	waitFor(t, "requests for progress", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.asked == 3 && fmt.Sprint(w.leader) == "[true]"
	})
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(what)
}

// What ends a feed.
func TestLineFeedEnds(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *watches, f kv.Feed)
		want func(error) bool
		odd  bool
	}{
		"compacted": {
			func(w *watches, _ kv.Feed) {
				w.send <- &pb.WatchResponse{Canceled: true, CompactRevision: 30, Header: &pb.ResponseHeader{Revision: 40}}
			},
			func(err error) bool {
				c := (*kv.Compacted)(nil)
				return errors.As(err, &c) && c.Revision == 30
			},
			false,
		},
		"refused": {
			func(w *watches, _ kv.Feed) { w.send <- &pb.WatchResponse{Canceled: true, CancelReason: "no rights"} },
			func(err error) bool { return strings.Contains(err.Error(), "no rights") },
			false,
		},
		"no leader": {
			func(w *watches, _ kv.Feed) { w.end <- status.Error(codes.Unavailable, "etcdserver: no leader") },
			func(err error) bool {
				return status.Code(errors.Unwrap(err)) == codes.Unavailable && strings.Contains(err.Error(), "no leader")
			},
			false,
		},
		"a foreign key": {
			func(w *watches, _ kv.Feed) {
				w.send <- &pb.WatchResponse{Events: []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: []byte("x")}}}}
			},
			func(err error) bool { return strings.Contains(err.Error(), `"x"`) },
			true,
		},
		"closed": {func(_ *watches, f kv.Feed) { f.Close() }, func(err error) bool { return errors.Is(err, net.ErrClosed) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, address := newWatches(t)
			s, f := fed(t, Config{Endpoints: []string{address}})
			w.send <- &pb.WatchResponse{Header: &pb.ResponseHeader{Revision: 9}}
			receive(t, f)
			go c.do(w, f)
			if b, err := f.Recv(); err == nil || !c.want(err) {
				t.Errorf("got %v, %v", b, err)
			}
			if s.odd.Load() != c.odd {
				t.Errorf("the line is taken for unusable: %v, want %v", !c.odd, c.odd)
			}
			if _, err := f.Recv(); err == nil {
				t.Error("a feed that has ended goes on")
			}
		})
	}
}

// relay passes bytes on until it is told to hold them back.
func relay(t *testing.T, to string) (address string, hold func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var held bool
	t.Cleanup(func() { l.Close() })
	pass := func(from, to net.Conn) {
		defer to.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			h := held
			mu.Unlock()
			if h {
				continue
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			go pass(a, b)
			go pass(b, a)
		}
	}()
	return l.Addr().String(), func() { mu.Lock(); held = true; mu.Unlock() }
}

// A quiet feed lives as long as the other side answers pings.
func TestLineFeedKeepalive(t *testing.T) {
	w, address := newWatches(t)
	address, hold := relay(t, address)
	s, f := fed(t, Config{Endpoints: []string{address}, KeepaliveTime: 100 * time.Millisecond, KeepaliveTimeout: 4 * time.Second})
	w.send <- &pb.WatchResponse{Header: &pb.ResponseHeader{Revision: 9}}
	receive(t, f)
	l := f.(*feed).stream.(*lineFeed)
	got := make(chan error, 1)
	go func() {
		for range 2 {
			_, err := f.Recv()
			got <- err
		}
	}()
	pings := 0
	waitFor(t, "no pings", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.asked {
			pings++
		}
		return pings > 1
	})
	w.send <- &pb.WatchResponse{Header: &pb.ResponseHeader{Revision: 10}}
	if err := <-got; err != nil {
		t.Fatalf("a quiet feed: %v", err)
	}
	hold()
	if err := <-got; err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a dead one: %v", err)
	}
	if s.odd.Load() {
		t.Error("the line is taken for unusable, and it had worked")
	}
}

// Where a line does not work and the client library does, that is used.
func TestLineFeedFallsBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // greets, and leaves when something is asked
				defer c.Close()
				fr := http2.NewFramer(c, c)
				_ = fr.WriteSettings()
				b := make([]byte, len(http2.ClientPreface))
				_, _ = c.Read(b)
				for {
					if f, err := fr.ReadFrame(); err != nil || f.Header().Type == http2.FrameHeaders {
						return
					}
				}
			}()
		}
	}()
	s, f := fed(t, Config{Endpoints: []string{l.Addr().String()}})
	if _, err := f.Recv(); err == nil {
		t.Fatal("a feed from nowhere")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, want := range []bool{false, true} { // and then the line is tried again
		if got := s.watchOverLine(ctx, s.watchRequest("", 1, false)) != nil; got != want {
			t.Errorf("a feed over a line: %v, want %v", got, want)
		}
	}
}

// FuzzMessages compares what is read of etcd's answers with what protobuf's
// library reads.
func FuzzMessages(f *testing.F) {
	for _, m := range []proto.Message{
		&pb.WatchResponse{Header: &pb.ResponseHeader{Revision: 7}, Created: true, Events: []*mvccpb.Event{changed("pods/a", 5, []byte("v")), {Type: mvccpb.Event_DELETE, Kv: changed("b", 6, nil).Kv}}},
		&pb.WatchResponse{Canceled: true, CompactRevision: 3, CancelReason: "x", Fragment: true},
		&pb.RangeResponse{Header: &pb.ResponseHeader{Revision: 7}, Kvs: []*mvccpb.KeyValue{changed("pods/a", 5, []byte("v")).Kv, changed("pods/b", 5, nil).Kv}, More: true, Count: 12},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	s := &Store{prefix: "/registry/"}
	f.Fuzz(func(t *testing.T, b []byte) {
		var page kv.Page
		if err := s.openPage(b, &page); err == nil {
			samePage(t, b, &page)
		}
		if told, err := s.openTold(b); err == nil {
			sameTold(t, b, &told)
		}
	})
}

func samePage(t *testing.T, b []byte, got *kv.Page) {
	var r pb.RangeResponse
	if proto.Unmarshal(b, &r) != nil {
		return
	}
	if got.Revision != r.Header.GetRevision() || got.More != r.More || got.Count != r.Count || len(got.Entries) != len(r.Kvs) {
		t.Fatalf("got %v of %v", got, &r)
	}
	for i, e := range r.Kvs {
		if g := got.Entries[i]; "/registry/"+g.Key != string(e.Key) || !bytes.Equal(g.Value, e.Value) || g.Revision != e.ModRevision {
			t.Fatalf("entry %d: %v of %v", i, g, e)
		}
	}
}

func sameTold(t *testing.T, b []byte, got *told) {
	var r pb.WatchResponse
	if proto.Unmarshal(b, &r) != nil {
		return
	}
	if got.revision != r.Header.GetRevision() || got.created != r.Created || got.canceled != r.Canceled || got.fragment != r.Fragment ||
		got.compacted != r.CompactRevision || got.reason != r.CancelReason || len(got.events) != len(r.Events) {
		t.Fatalf("got %+v of %v", got, &r)
	}
	for i, e := range r.Events {
		if g := got.events[i]; "/registry/"+g.Key != string(e.Kv.GetKey()) || !bytes.Equal(g.Value, e.Kv.GetValue()) || g.Revision != e.Kv.GetModRevision() || g.Delete != (e.Type == mvccpb.Event_DELETE) {
			t.Fatalf("event %d: %v of %v", i, g, e)
		}
	}
}

// FuzzLineFeed feeds a feed what no etcd sends.
func FuzzLineFeed(f *testing.F) {
	body, err := proto.Marshal(&pb.WatchResponse{Events: []*mvccpb.Event{changed("pods/a", 5, []byte("v"))}})
	if err != nil {
		f.Fatal(err)
	}
	message := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
	f.Add(append(appendFrame(nil, http2.FrameData, 0, 1, len(message)), message...))
	f.Add(append(appendFrame(nil, http2.FrameData, 0, 1, 7), message[:7]...))
	f.Add(append(appendFrame(nil, http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 1, 15), "\x00\x0bgrpc-status\x010"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &replay{r: bytes.NewReader(append([]byte{0, 0, 0, byte(http2.FrameSettings), 0, 0, 0, 0, 0}, b...))}
		l, err := newLine(c, c, "host")
		if err != nil {
			return
		}
		feed := &lineFeed{store: &Store{prefix: "/registry/", lines: &lines{}}, lineStream: lineStream{l: l, a: answer{stream: 1, many: true}}}
		for {
			told, err := feed.recv()
			if err != nil {
				return
			}
			for _, e := range told.events {
				if !bytes.Contains(b, e.Value) {
					t.Fatalf("%q is not in %q", e.Value, b)
				}
			}
		}
	})
}
