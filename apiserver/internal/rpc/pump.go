package rpc

import (
	"context"
	"sync"
	"time"

	"xebec.dev/apiserver/internal/bell"
	"xebec.dev/apiserver/internal/storage"
)

// pump sends what the subscriptions of a stream have. A goroutine for each of
// them would have to be woken for each event.
type pump struct {
	board *bell.Board[*subscribers] // of topics with news

	mu     sync.Mutex // guards what follows
	topics map[storage.Topic]*subscribers
	added  []*sender
	count  int
}

// subscribers are the subscriptions of one topic.
type subscribers struct {
	bell *bell.Bell[*subscribers]
	all  []*sender // guarded by the pump's mu
}

func newPump() *pump {
	return &pump{board: bell.NewBoard[*subscribers](), topics: map[storage.Topic]*subscribers{}}
}

// deliver has a subscription sent until it fails or its context ends.
func (p *pump) deliver(s *sender) error {
	if s.idle > 0 {
		s.idle = max(s.idle, leastIdle)
	}
	s.sent = time.Now().Add(-s.gather) // the first batch waits for nothing
	p.join(s)
	defer p.leave(s)
	select {
	case err := <-s.done:
		return err
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

func (p *pump) join(s *sender) {
	topic := s.cursor.Topic()
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.topics[topic]
	if g == nil {
		g = &subscribers{}
		g.bell = p.board.Bell(g)
		p.topics[topic] = g
		topic.Join(g.bell)
	}
	g.all = append(g.all, s)
	p.added = append(p.added, s)
	p.count++
	p.board.Wake()
}

// leave returns when the subscription's cursor is not in use any more.
func (p *pump) leave(s *sender) {
	s.leave()
	topic := s.cursor.Topic()
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.topics[topic]
	for i, o := range g.all {
		if o == s {
			last := len(g.all) - 1
			g.all[i], g.all[last] = g.all[last], nil
			g.all = g.all[:last]
			break
		}
	}
	if len(g.all) == 0 {
		topic.Leave(g.bell)
		delete(p.topics, topic)
	}
	p.count--
}

// Pace of a pump: news that come close together share a round.
const (
	pacePerSubscription = 10 * time.Microsecond
	paceMost            = 50 * time.Millisecond
)

// run is the pump's goroutine, until the stream ends.
func (p *pump) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var todo []*sender
	var next, last time.Time // when a subscription is due, when news were delivered
	for {
		rang := false
		select {
		case <-ctx.Done():
			return
		case <-p.board.C():
			p.rest(ctx, last)
			rang = true
		case <-timer.C:
		}
		now := time.Now()
		if todo, next = p.collect(todo[:0], next, now); rang {
			last = now
		}
		for i := 0; i < len(todo); i++ {
			s := todo[i]
			todo[i] = nil
			if ctx.Err() != nil {
				return
			}
			if s.step() {
				todo = append(todo, s)
				continue
			}
			s.mu.Lock()
			next = sooner(next, s.due)
			s.mu.Unlock()
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// rest waits a little when there are many subscriptions and the last round was
// just now.
func (p *pump) rest(ctx context.Context, last time.Time) {
	p.mu.Lock()
	pause := min(time.Duration(p.count)*pacePerSubscription, paceMost)
	p.mu.Unlock()
	wait := pause - time.Since(last)
	if pause < time.Millisecond || wait < time.Millisecond/2 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// collect adds who may have something to send, and says when the next of the
// others is due.
func (p *pump) collect(todo []*sender, next, now time.Time) ([]*sender, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	todo = append(todo, p.added...)
	clear(p.added)
	p.added = p.added[:0]
	p.board.Take(func(g *subscribers) { todo = append(todo, g.all...) })
	if next.IsZero() || now.Before(next) {
		return todo, next
	}
	next = time.Time{}
	for _, g := range p.topics {
		for _, s := range g.all {
			s.mu.Lock()
			due, early := s.due, s.early()
			s.mu.Unlock()
			if !due.IsZero() && !now.Before(due.Add(-early)) {
				todo = append(todo, s)
			} else {
				next = sooner(next, due)
			}
		}
	}
	return todo, next
}
