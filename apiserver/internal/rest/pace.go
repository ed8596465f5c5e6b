package rest

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// streams counts the watches being served, to set their pace.
var streams atomic.Int64

// gatherPerStream, times the number of streams, is how long a busy cursor
// rests between two deliveries: events that come close together share a write
// and a flush. A delivery costs about half of it in CPU, so that all streams
// together can't take more than about half a core in system calls; a lone
// watcher does not wait at all.
const (
	gatherPerStream = 50 * time.Microsecond
	gatherMost      = 100 * time.Millisecond
)

// rest waits, after a delivery at last, for the next beat. The beats are the
// same for all streams: what wakes at once is written at once, and streams of
// one connection share its system calls. A stream that was idle for a beat
// does not wait.
func rest(ctx context.Context, last time.Time) {
	pause := min(time.Duration(streams.Load())*gatherPerStream, gatherMost)
	if pause < time.Millisecond || last.IsZero() {
		return
	}
	// Powers of two: streams that see different counts still meet.
	period := int64(1) << (bits.Len64(uint64(pause/time.Millisecond)) - 1)
	at := (last.UnixMilli()/period + 1) * period
	if time.Now().UnixMilli() >= at {
		return
	}
	select {
	case <-beats.at(at):
	case <-ctx.Done():
	}
}

// beats are the moments that streams wait for, in milliseconds of Unix time.
var beats = metronome{waiting: map[int64]chan struct{}{}}

type metronome struct {
	mu      sync.Mutex
	waiting map[int64]chan struct{} // guarded by mu
}

func (m *metronome) at(ms int64) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.waiting[ms]; ok {
		return c
	}
	c := make(chan struct{})
	m.waiting[ms] = c
	time.AfterFunc(time.Until(time.UnixMilli(ms)), func() {
		m.mu.Lock()
		delete(m.waiting, ms)
		m.mu.Unlock()
		close(c)
	})
	return c
}

// patience is how long a client may take to make room for a delivery. One
// that reads slower than that is cut off, and may resume where it was.
const patience = 20 * time.Second

// watchdog calls cut when a delivery takes longer than patience, and up to
// twice that. A deadline that is set before each write would also end idle
// streams of HTTP/2; a timer that is set before each costs as much as the
// write, so this one looks only now and then.
type watchdog struct {
	begun   atomic.Int64 // Unix ms of the delivery on its way, 0 without
	stopped atomic.Bool
	cut     func()
}

func newWatchdog(cut func()) *watchdog {
	w := &watchdog{cut: cut}
	time.AfterFunc(patience, w.look)
	return w
}

func (w *watchdog) look() {
	if w.stopped.Load() {
		return
	}
	if at := w.begun.Load(); at != 0 && time.Since(time.UnixMilli(at)) >= patience {
		w.cut()
		return
	}
	time.AfterFunc(patience, w.look)
}

func (w *watchdog) begin() { w.begun.Store(time.Now().UnixMilli()) }
func (w *watchdog) end()   { w.begun.Store(0) }
func (w *watchdog) stop()  { w.stopped.Store(true) }
