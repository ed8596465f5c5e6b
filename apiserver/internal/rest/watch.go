package rest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/audit"
	"xebec.dev/apiserver/internal/encode"
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
	if err != nil {
		return x.watchError(f, err)
	}
	defer watcher.Close()
	x.head(f)
	audit.From(ctx).Started(http.StatusOK)
	x.stream(ctx, cancel, f, watcher, o.AllowWatchBookmarks)
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

// watchError answers a watch that can't start: an expired revision is told
// inside the stream, as clients expect, everything else as a Status.
func (x *exchange) watchError(f encode.Format, err error) error {
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) && !tooLarge(err) {
		return err
	}
	x.head(f)
	x.writeError(f, err)
	return nil
}

// tooLarge: a revision of the future is told within the stream, too.
func tooLarge(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
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

// pieceBytes bounds what is copied for one client before it takes any of it:
// a slow one must not hold hundreds of large events.
const pieceBytes = 128 << 10

func (x *exchange) stream(ctx context.Context, cancel context.CancelFunc, f encode.Format, watcher storage.Watcher, bookmarks bool) {
	flush := http.NewResponseController(x.w)
	if x.Draining != nil {
		go endOnDrain(ctx, cancel, x.Draining)
	}
	streams.Add(1)
	defer streams.Add(-1)
	enc := x.encoder(&x.t)
	slow := newWatchdog(func() { _ = flush.SetWriteDeadline(time.Now()) })
	defer slow.stop()
	var buf []byte
	var last time.Time
	for {
		rest(ctx, last)
		events, err := watcher.Next(ctx)
		if err != nil {
			// Flushed here: what net/http flushes later, no watchdog guards.
			slow.begin()
			x.end(f, err)
			_ = flush.Flush() // a client that is gone needs no goodbye
			return
		}
		buf = buf[:0]
		for i := range events {
			if events[i].Type == storage.Bookmark && !bookmarks {
				continue
			}
			frame, err := enc.Event(f, &events[i])
			if err != nil {
				// The shape asked for does not fit; Kubernetes just ends here.
				x.Log.Debug("a watch event could not be encoded", zap.Error(err))
				return
			}
			buf = append(buf, frame...)
			if len(buf) >= pieceBytes {
				slow.begin()
				if _, err := x.w.Write(buf); err != nil {
					return
				}
				buf = buf[:0]
			}
			if f.Shape == encode.Table {
				f.NoColumns = true
			}
		}
		slow.begin()
		if _, err := x.w.Write(buf); err != nil {
			return
		}
		if flush.Flush() != nil {
			return
		}
		slow.end()
		last = time.Now()
		if cap(buf) > keepBuffer {
			buf = nil
		}
	}
}

// endOnDrain spreads the ends of watches over a second when the server shuts
// down.
func endOnDrain(ctx context.Context, cancel context.CancelFunc, draining <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-draining:
		time.Sleep(rand.N(time.Second))
		cancel()
	}
}

func (x *exchange) end(f encode.Format, err error) {
	if errors.Is(err, storage.ErrExpired) {
		x.writeError(f, apierrors.NewResourceExpired("too old resource version: the watch did not keep up"))
	}
}
