package h2

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"xebec.dev/apiserver/internal/bell"
)

// Alarm is what a Topic rings when it has news.
type Alarm = interface{ Ring() }

// Topic has news now and then. Comparable: sources of one topic share an alarm.
type Topic interface {
	// Join has a ring at the news from now on; Ring does not block. Leave ends that.
	Join(a Alarm)
	Leave(a Alarm)
}

// Source is what a stream sends. The pump calls it from one goroutine at a time.
type Source interface {
	// Next gives the next bytes to send, nil when there are none now. It
	// does not wait. The bytes must not change later.
	Next() ([]byte, error)
	// Due is when to ask again though the topic was silent; zero is never.
	Due() time.Time
	Topic() Topic
}

// ErrSlow ends a delivery to a client that made no room for it in time, or
// that had not taken all of it when the time was up. The stream can't go on
// from there: it is to be reset.
var ErrSlow = errors.New("h2: the client does not take its events")

// Deliver sends what a source gives until it or ctx ends, by the pump of w's
// connection, and returns why. It reports false if w is of another server.
// Headers must have been flushed, and the handler must not use w meanwhile.
func Deliver(ctx context.Context, w http.ResponseWriter, src Source) (bool, error) {
	for {
		if r, ok := w.(*response); ok {
			return true, r.s.c.pump.deliver(ctx, r.s, src)
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false, nil
		}
		w = u.Unwrap()
	}
}

// pump sends what the sources of a connection's streams have.
type pump struct {
	c     *conn
	board *bell.Board[*group] // of topics with news
	// watching is the number of feeds, starved how many wait for the client.
	watching, starving atomic.Int32
	roomy              atomic.Bool // a window has grown

	mu      sync.Mutex // guards what follows
	groups  map[Topic]*group
	added   []*feed
	running bool
}

// group is the feeds of one topic.
type group struct {
	bell  *bell.Bell[*group]
	feeds []*feed // replaced when one leaves; guarded by the pump's mu
}

// feed is one source on its way to one stream.
type feed struct {
	s    *stream
	src  Source
	done chan error

	mu sync.Mutex // guards what follows; held while src is asked
	// pending was taken from src and not yet sent.
	pending []byte
	gone    bool
	hungry  time.Time // since when the client makes no room
	due     time.Time
}

// room is called when a window has grown.
func (p *pump) room() {
	if p.starving.Load() > 0 {
		p.roomy.Store(true)
		p.board.Wake()
	}
}

func (p *pump) count() int { return int(p.watching.Load()) }

func (p *pump) deliver(ctx context.Context, s *stream, src Source) error {
	f := &feed{s: s, src: src, done: make(chan error, 1)}
	topic := src.Topic()
	p.watching.Add(1)
	p.c.srv.feeds.Add(1)
	p.mu.Lock()
	g := p.groups[topic]
	if g == nil {
		g = &group{}
		g.bell = p.board.Bell(g)
		p.groups[topic] = g
		topic.Join(g.bell)
	}
	g.feeds = append(g.feeds, f)
	p.added = append(p.added, f)
	if !p.running {
		p.running = true
		workers.start(p.run)
	}
	p.mu.Unlock()
	p.board.Wake()
	var err error
	select {
	case err = <-f.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if p.leave(f, g, topic) {
		err = ErrSlow
	}
	return err
}

// leave ends a feed: after it the source is not asked any more. It reports
// whether what the source gave last has been sent in part only.
func (p *pump) leave(f *feed, g *group, topic Topic) bool {
	f.mu.Lock()
	cut := len(f.pending) > 0
	f.gone = true
	f.sated()
	f.mu.Unlock()
	p.mu.Lock()
	rest := make([]*feed, 0, len(g.feeds))
	for _, o := range g.feeds {
		if o != f {
			rest = append(rest, o)
		}
	}
	if g.feeds = rest; len(rest) == 0 {
		topic.Leave(g.bell)
		delete(p.groups, topic)
	}
	p.mu.Unlock()
	p.watching.Add(-1)
	p.c.srv.feeds.Add(-1)
	p.board.Wake() // it ends with its last feed
	return cut
}

// Pace of a pump: news that come close together share a write. All streams
// together can't take more than about half a core for it.
const (
	pacePerFeed = 10 * time.Microsecond
	paceMost    = 50 * time.Millisecond
)

// run is the pump's goroutine, as long as there are feeds.
func (p *pump) run() {
	r := round{p: p, timer: time.NewTimer(time.Hour)}
	defer r.timer.Stop()
	for {
		select {
		case <-p.board.C():
			r.rest()
		case <-r.timer.C:
		}
		if !r.begin() {
			return
		}
		r.work()
		if r.next.IsZero() {
			r.timer.Stop()
		} else {
			r.timer.Reset(time.Until(r.next))
		}
	}
}

// round is what the pump's goroutine knows.
type round struct {
	p       *pump
	timer   *time.Timer
	todo    []*feed
	starved []*feed
	next    time.Time // the earliest that a feed is due
	last    time.Time // news were delivered
}

// begin collects who may have something to send. It reports false when the
// pump is to end.
func (r *round) begin() bool {
	p := r.p
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.groups) == 0 {
		p.running = false
		return false
	}
	r.todo = append(r.todo[:0], p.added...)
	clear(p.added)
	p.added = p.added[:0]
	if p.board.Take(func(g *group) { r.todo = append(r.todo, g.feeds...) }) > 0 {
		r.last = now
	}
	if p.roomy.Swap(false) || len(r.starved) > 0 && !now.Before(r.next) {
		r.todo = append(r.todo, r.starved...)
		clear(r.starved)
		r.starved = r.starved[:0]
	}
	if !r.next.IsZero() && !now.Before(r.next) {
		r.next = time.Time{}
		for _, g := range p.groups {
			for _, f := range g.feeds {
				f.mu.Lock()
				due := f.due
				f.mu.Unlock()
				if !due.IsZero() && !now.Before(due) {
					r.todo = append(r.todo, f)
				} else {
					r.sooner(due)
				}
			}
		}
	}
	return true
}

func (r *round) sooner(at time.Time) {
	if !at.IsZero() && (r.next.IsZero() || at.Before(r.next)) {
		r.next = at
	}
}

// work sends until nobody has more, or only to clients that make no room.
func (r *round) work() {
	c := r.p.c
	for i := 0; i < len(r.todo); i++ {
		f := r.todo[i]
		r.todo[i] = nil
		if r.send(f) {
			c.flushFully()
			r.todo = append(r.todo, f)
		}
	}
	c.flush(nil)
	if cap(r.todo) > 1024 {
		r.todo = nil
	}
}

// send sends what one feed has. It reports whether the connection's buffer was
// full before that was all.
func (r *round) send(f *feed) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.gone {
		if len(f.pending) == 0 {
			b, err := f.src.Next()
			if err != nil {
				f.finish(err)
				return false
			}
			if len(b) == 0 {
				f.due = f.src.Due()
				r.sooner(f.due)
				return false
			}
			f.pending = b
		}
		n, full, err := f.s.offer(f.pending)
		if err != nil {
			f.finish(err)
			return false
		}
		if n > 0 {
			f.sated()
		}
		if f.pending = f.pending[n:]; len(f.pending) == 0 {
			continue
		}
		if full {
			return true
		}
		return r.starve(f)
	}
	return false
}

// starve keeps a feed until its client makes room, and not forever.
func (r *round) starve(f *feed) bool {
	patience := r.p.c.srv.o.Patience
	if f.hungry.IsZero() {
		f.hungry = time.Now()
		r.p.starving.Add(1)
		r.p.roomy.Store(true) // room made before that was not told
		r.p.board.Wake()
	} else if time.Since(f.hungry) >= patience {
		f.finish(ErrSlow)
		return false
	}
	r.sooner(f.hungry.Add(patience))
	r.starved = append(r.starved, f)
	return false
}

// sated: the client has made room. It needs mu.
func (f *feed) sated() {
	if !f.hungry.IsZero() {
		f.hungry = time.Time{}
		f.s.c.pump.starving.Add(-1)
	}
}

// finish ends a feed. It needs mu.
func (f *feed) finish(err error) {
	f.gone, f.pending = true, nil
	f.sated()
	f.done <- err // has room
}

// rest waits a little when the last delivery was just now and there are many
// feeds. One that comes after a while is sent at once.
func (r *round) rest() {
	pause := min(time.Duration(r.p.c.srv.feeds.Load())*pacePerFeed, paceMost)
	if pause < time.Millisecond || r.last.IsZero() {
		return
	}
	wait := pause - time.Since(r.last)
	if wait < time.Millisecond/2 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.p.c.done:
	}
}

// offer appends what of p there is room for; full means that it is the
// connection's buffer that has none.
func (s *stream) offer(p []byte) (n int, full bool, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err != nil {
		return 0, false, s.closed()
	}
	room := outLimit - c.waits()
	if room <= 0 {
		return 0, true, nil
	}
	n = c.appendData(s, p[:min(len(p), room)])
	return n, n == room && n < len(p), nil
}

// flushFully waits until the buffer has been taken.
func (c *conn) flushFully() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.waits() >= outLimit/2 && !c.left.Load() {
		c.flushLocked(nil)
		if c.waits() >= outLimit/2 && c.err == nil && !c.left.Load() {
			c.room.Wait()
		}
	}
}
