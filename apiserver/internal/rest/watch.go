package rest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/apiserver/internal/audit"
	"xebec.dev/apiserver/internal/encode"
	"xebec.dev/apiserver/internal/h2"
	"xebec.dev/apiserver/internal/storage"
)

// watch streams events until the client goes, the time is up, the server
// drains or the cursor is overwritten.
func (x *exchange) watch() error {
	f, err := x.negotiate(encode.Endpoint{Collection: true, Watch: true})
	if err != nil {
		return err
	}
	o, err := listOptions(x.query)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), x.watchTime(o.TimeoutSeconds))
	defer cancel()
	watcher, err := x.Registry.Watch(x.r.Context(), x.t, o) // waiting for a revision has a limit of its own
	if err != nil && !toldInStream(err) {
		return err
	}
	if err == nil {
		defer watcher.Close()
	}
	tell := func(code int) {
		x.head(f)
		if err != nil {
			x.writeError(f, err)
			return
		}
		audit.From(ctx).Started(code)
		x.stream(ctx, cancel, f, watcher, o.AllowWatchBookmarks)
	}
	if asksForSocket(x.r) {
		x.overSocket(f, cancel, func() { tell(http.StatusSwitchingProtocols) })
	} else {
		tell(http.StatusOK)
	}
	return nil
}

// watchTime is timeoutSeconds, or between one and two times MinWatch, so that
// many watches do not end together.
func (x *exchange) watchTime(seconds *int64) time.Duration {
	if seconds != nil && *seconds > 0 {
		return time.Duration(min(*seconds, int64(24*time.Hour/time.Second))) * time.Second
	}
	return x.MinWatch + rand.N(x.MinWatch)
}

func (x *exchange) head(f encode.Format) {
	head(x.w, x.r, f.ContentType(), http.StatusOK)
	_ = http.NewResponseController(x.w).Flush() // errors show at the next write
}

// toldInStream: why a watch can't start is a Status, but that a revision is
// expired, or of the future, is told inside the stream, as clients expect.
func toldInStream(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}

func (x *exchange) writeError(f encode.Format, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return
	}
	s := status.Status()
	if frame, err := encode.ErrorEvent(f, &s); err == nil {
		_, _ = x.w.Write(frame)
	}
}

func (x *exchange) stream(ctx context.Context, cancel context.CancelFunc, f encode.Format, watcher storage.Watcher, bookmarks bool) {
	defer x.leaving.add(cancel)()
	src := &source{ctx: ctx, format: f, encoder: x.encoder(&x.t), watcher: watcher, bookmarks: bookmarks, sent: nobody{}}
	if x.Watched != nil {
		src.sent = x.Watched(schema.GroupVersionResource{Group: x.t.At.Group, Version: x.t.At.Version, Resource: x.t.Plural})
	}
	if poller, ok := watcher.(storage.Poller); ok {
		src.poller = poller
		if ours, err := h2.Deliver(ctx, x.w, src); ours {
			if err == h2.ErrSlow {
				panic(http.ErrAbortHandler)
			}
			// The last words, too, must be taken in time.
			_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(patience)) // ours has them
			x.end(f, err)
			return
		}
	}
	x.end(f, x.follow(src))
}

// source gives the events of a watch in the form that was asked for.
type source struct {
	ctx       context.Context
	format    encode.Format
	encoder   *encode.Encoder
	watcher   storage.Watcher
	poller    storage.Poller // the same
	bookmarks bool
	events    []storage.Event
	sent      interface{ Add(float64) } // counts events
}

type nobody struct{}

func (nobody) Add(float64) {}

// Next gives an event if there is one.
func (s *source) Next() ([]byte, error) {
	for {
		if frame, err := s.encode(); frame != nil || err != nil {
			return frame, err
		}
		var err error
		if s.events, err = s.poller.Poll(s.ctx); err != nil || len(s.events) == 0 {
			return nil, err
		}
		s.sent.Add(float64(len(s.events)))
	}
}

func (s *source) Due() time.Time  { return s.poller.Due() }
func (s *source) Topic() h2.Topic { return s.poller.Topic() }

// encode takes the next of the events that were read; nil after the last one.
func (s *source) encode() ([]byte, error) {
	for len(s.events) > 0 {
		ev := &s.events[0]
		s.events = s.events[1:]
		if ev.Type == storage.Bookmark && !s.bookmarks {
			continue
		}
		frame, err := s.encoder.Event(s.format, ev)
		if err != nil {
			// The shape asked for does not fit; Kubernetes just ends here.
			return nil, fmt.Errorf("encode a watch event: %w", err)
		}
		if s.format.Shape == encode.Table {
			s.format.NoColumns = true
		}
		return frame, nil
	}
	return nil, nil
}

// pieceBytes bounds what is copied for one client before it takes any of it:
// a slow one must not hold hundreds of large events.
const pieceBytes = 128 << 10

// follow delivers on a connection without a pump: HTTP/1.1. A nil error means
// that there is nothing more to say to the client.
func (x *exchange) follow(s *source) error {
	piece := pieceBytes
	if _, ok := x.w.(*socketWriter); ok {
		piece = 1 // each event by itself
	}
	flush := http.NewResponseController(x.w)
	streams.Add(1)
	defer streams.Add(-1)
	slow := newWatchdog(func() { _ = flush.SetWriteDeadline(time.Now()) })
	defer slow.stop()
	var buf []byte
	var last time.Time
	for {
		rest(s.ctx, last)
		var err error
		if s.events, err = s.watcher.Next(s.ctx); err != nil {
			// Flushed here: what net/http flushes later, no watchdog guards.
			slow.begin()
			x.end(s.format, err)
			_ = flush.Flush() // a client that is gone needs no goodbye
			return nil
		}
		s.sent.Add(float64(len(s.events)))
		buf = buf[:0]
		for {
			frame, err := s.encode()
			if err != nil {
				return err
			}
			buf = append(buf, frame...)
			if frame != nil && len(buf) < piece {
				continue
			}
			slow.begin()
			if len(buf) > 0 {
				if _, err := x.w.Write(buf); err != nil {
					return nil
				}
			}
			if buf = buf[:0]; frame == nil {
				break
			}
		}
		if flush.Flush() != nil {
			return nil
		}
		slow.end()
		last = time.Now()
		if cap(buf) > keepBuffer {
			buf = nil
		}
	}
}

// leaving ends watches in a spread of a second when the server shuts down.
type leaving struct {
	draining <-chan struct{}
	once     sync.Once
	mu       sync.Mutex // guards what follows
	watches  map[*context.CancelFunc]struct{}
	now      bool
}

// add has a watch end with the server; the function returned forgets it.
func (l *leaving) add(cancel context.CancelFunc) (forget func()) {
	if l.draining == nil {
		return func() {}
	}
	l.once.Do(func() { go l.wait() })
	key := &cancel
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now {
		time.AfterFunc(rand.N(time.Second), cancel)
		return func() {}
	}
	if l.watches == nil {
		l.watches = map[*context.CancelFunc]struct{}{}
	}
	l.watches[key] = struct{}{}
	return func() {
		l.mu.Lock()
		delete(l.watches, key)
		l.mu.Unlock()
	}
}

func (l *leaving) wait() {
	<-l.draining
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = true
	for cancel := range l.watches {
		time.AfterFunc(rand.N(time.Second), *cancel)
	}
	l.watches = nil
}

func (x *exchange) end(f encode.Format, err error) {
	if errors.Is(err, storage.ErrExpired) {
		x.writeError(f, apierrors.NewResourceExpired("too old resource version: the watch did not keep up"))
		return
	}
	if err != nil && x.r.Context().Err() == nil {
		x.Log.Debug("a watch ended", zap.Error(err))
	}
}
