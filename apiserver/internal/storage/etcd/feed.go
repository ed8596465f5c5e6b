package etcd

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"google.golang.org/grpc/status"
)

// lineFeed is etcd's watch stream over a line of its own: who waits for
// events reads them from the socket. By the library's way each of them wakes
// the connection's reader first, which costs more than all the rest of it.
type lineFeed struct {
	store *Store
	lineStream
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
	f := &lineFeed{store: s, lineStream: openStream(l, "/etcdserverpb.Watch/Watch", feedBuffer, 1<<20)}
	if err := f.send(r, false); err != nil {
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
	m, err := f.message()
	switch {
	case err == io.EOF:
		return told{}, errors.New("etcd ended the watch")
	case err != nil:
		return told{}, err
	}
	return f.store.openTold(m)
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

func (f *lineFeed) progress() error { return f.send(progressRequest, false) }

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
