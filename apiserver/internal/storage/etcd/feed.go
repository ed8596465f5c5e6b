package etcd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// lineFeed is etcd's watch stream over a line of its own: who waits for
// events reads them from the socket. By the library's way each of them wakes
// the connection's reader first, which costs more than all the rest of it.
type lineFeed struct {
	store *Store
	l     *line
	a     answer // guarded by l.writing: room
	at    int    // in the answer's bytes: what has been taken
	// created is set once etcd has answered.
	created bool

	close func()
	mu    sync.Mutex
	// guarded by mu
	timer  *time.Timer // nil when closed
	asked  bool        // whether it is alive, and not answered yet
	broken atomic.Bool // by the timer
}

// watchOverLine is nil if there is no line to be had; the library then knows
// how to wait for one.
func (s *Store) watchOverLine(ctx context.Context, r *pb.WatchRequest) *lineFeed {
	if s.lines == nil || len(s.lines.endpoints) == 0 || s.odd.Swap(false) {
		return nil
	}
	l, err := s.lines.connect(ctx, s.lines.next())
	if err != nil {
		s.lines.another()
		return nil
	}
	// The greeting had a deadline for everything.
	if err := l.conn.SetDeadline(time.Time{}); err != nil {
		l.close()
		return nil
	}
	l.patience = s.lines.dead
	l.in = append(make([]byte, 0, feedBuffer), l.in[l.start:l.end]...)[:feedBuffer]
	l.start, l.end = 0, l.end-l.start
	f := &lineFeed{store: s, l: l}
	l.writing.Lock()
	f.a = answer{stream: l.next, room: l.streamRoom, many: true}
	// A member that lost its leader must say so, not fall silent.
	l.headers("/etcdserverpb.Watch/Watch", hpack.HeaderField{Name: rpctypes.MetadataRequireLeaderKey, Value: rpctypes.MetadataHasLeader})
	l.writing.Unlock()
	if err := f.request(r); err != nil {
		l.close()
		s.lines.another()
		return nil
	}
	f.mu.Lock()
	f.timer = time.AfterFunc(s.lines.alive/2, f.check)
	f.mu.Unlock()
	stop := context.AfterFunc(ctx, f.end)
	f.close = func() { stop(); f.end() }
	return f
}

// feedBuffer holds a few events of usual size.
const feedBuffer = 32 << 10

// request sends on the stream.
func (f *lineFeed) request(r *pb.WatchRequest) error {
	body, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 5, 256), r)
	if err != nil {
		return err
	}
	putPrefix(body)
	f.l.writing.Lock()
	defer f.l.writing.Unlock()
	if int64(len(body)) > min(f.a.room, f.l.room) {
		return errors.New("etcd does not take requests on the watch")
	}
	f.l.data(&f.a, body, false)
	return f.l.flush()
}

// recv is the next response.
func (f *lineFeed) recv() (told, error) {
	t, err := f.receive()
	if err == nil {
		f.created = true
		return t, nil
	}
	f.end()
	f.store.lines.another()
	if !f.created || !lost(err) {
		// Something between us and etcd does not like this way.
		f.store.odd.Store(true)
	}
	if f.broken.Load() {
		err = errors.New("etcd does not answer")
	}
	return t, err
}

// lost is whether the connection ended or etcd did, and no more than that.
func lost(err error) bool {
	var broken net.Error
	_, refused := status.FromError(err)
	return refused || errors.As(err, &broken) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (f *lineFeed) receive() (told, error) {
	for {
		if m, ok, err := f.message(); ok || err != nil {
			if err != nil {
				return told{}, err
			}
			return f.store.openTold(m)
		}
		over, _, err := f.l.frame(&f.a)
		if err != nil {
			return told{}, err
		}
		if over {
			if err := f.a.err(); f.a.code != "0" {
				return told{}, err
			}
			return told{}, errors.New("etcd ended the watch")
		}
	}
}

// message takes the next one that is there whole.
func (f *lineFeed) message() ([]byte, bool, error) {
	b := f.a.message[f.at:]
	if len(b) < 5 {
		f.rewind()
		return nil, false, nil
	}
	n := int64(binary.BigEndian.Uint32(b[1:]))
	if b[0] != 0 || n > longestAnswer {
		return nil, false, fmt.Errorf("a message of kind %d with %d bytes", b[0], n)
	}
	if int64(len(b)) < 5+n {
		f.rewind()
		return nil, false, nil
	}
	f.at += 5 + int(n)
	return b[5 : 5+n], true, nil
}

// rewind moves what is left to the front of the buffer, and lets go of one
// that has grown.
func (f *lineFeed) rewind() {
	left := f.a.message[f.at:]
	switch {
	case len(left) == 0 && cap(f.a.message) > 1<<20:
		f.a.message = nil
	case f.at > 0:
		f.a.message = f.a.message[:copy(f.a.message, left)]
	}
	f.at = 0
}

// check asks for a sign of life when there was none for a while.
func (f *lineFeed) check() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer == nil {
		return
	}
	pause := f.store.lines.alive / 2
	switch {
	case f.l.heard.Swap(false):
		f.asked = false
	case f.asked:
		f.broken.Store(true)
		f.l.close()
		return
	default:
		f.asked = true
		pause = f.store.lines.dead
		if err := f.l.send(http2.FramePing, 0, 0, make([]byte, 8)); err != nil {
			f.l.close()
			return
		}
	}
	f.timer.Reset(pause)
}

func (f *lineFeed) progress() error { return f.request(progressRequest) }

// end closes the connection, which ends the watch.
func (f *lineFeed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
		f.l.close()
	}
}

func (f *lineFeed) stop() { f.close() }
