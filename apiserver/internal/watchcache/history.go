package watchcache

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"xebec.dev/apiserver/internal/storage"
)

// step is one object's way from old to new; nil where there is none.
type step struct {
	old, new *storage.Object
}

// change is a step as watchers see it.
type change struct {
	step
	// memos by storage.EventType: one change is Added to one watcher and
	// Modified to another.
	memos [3]storage.Memo
}

// link is everything that one revision changed in a collection.
type link struct {
	revision int64
	changes  []change
	bytes    int
	at       time.Time
}

func newLink(revision int64, steps []step, at time.Time) *link {
	l := &link{revision: revision, changes: make([]change, len(steps)), at: at}
	for i, s := range steps {
		l.changes[i].step = s
	}
	return l
}

// history is the revision ring of a collection: the changes after a revision,
// bounded in bytes. Its owner, the collection, guards it.
type history struct {
	// since: every change after it is here. whole: a watch may start at
	// since itself, because that revision changed at most one object here,
	// so that nobody can have seen a part of it.
	since int64
	whole bool
	links []*link // in order; links[first:] are valid
	first int
	// fresh is the first link whose encodings are kept.
	fresh int
	bytes int
	limit historyLimit
	main  *stream
	// buckets that have watchers.
	buckets map[bucket]*stream
	// news are the streams to wake.
	news  []*stream
	index int // the field that buckets are indexed by, -1 for none
}

// historyLimit bounds a history: up to low bytes are always kept, and up to
// high bytes of what is younger than window.
type historyLimit struct {
	low, high int
	window    time.Duration
}

var defaultLimit = historyLimit{low: 1 << 20, high: 24 << 20, window: 75 * time.Second}

// The newest revisions keep encodings for watchers to share: so many, and so
// long. Those who lag further behind encode for themselves.
const (
	memoLinks = 256
	memoTime  = 30 * time.Second
)

func newHistory(since int64, whole bool, limit historyLimit, index int) *history {
	return &history{since: since, whole: whole, limit: limit, main: newStream(), buckets: map[bucket]*stream{}, index: index}
}

// end expires all watchers.
func (h *history) end() {
	h.main.expire()
	for _, s := range h.buckets {
		s.expire()
	}
}

func (h *history) live() []*link { return h.links[h.first:] }

// after is the place of the first link later than a revision.
func (h *history) after(revision int64) int {
	l := h.live()
	return sort.Search(len(l), func(i int) bool { return l[i].revision > revision })
}

// at is the link of a revision, nil if it changed nothing here.
func (h *history) at(revision int64) *link {
	l := h.live()
	if i := h.after(revision - 1); i < len(l) && l[i].revision == revision {
		return l[i]
	}
	return nil
}

// reaches reports whether a watch can start where it wants to.
func (h *history) reaches(o storage.WatchOptions) bool {
	return o.Revision > h.since || o.Revision == h.since && (h.whole || o.Complete)
}

// push adds a revision. The watchers hear of it when they are woken.
func (h *history) push(l *link) {
	l.weigh()
	h.links = append(h.links, l)
	h.bytes += l.bytes
	h.tell(h.main, l)
	if len(h.buckets) > 0 {
		h.eachBucket(l, func(s *stream) { h.tell(s, l) })
	}
	h.trim(l.at)
}

// trim drops what is too old or too much.
func (h *history) trim(now time.Time) {
	for h.fresh < len(h.links) && (h.fresh < len(h.links)-memoLinks || now.Sub(h.links[h.fresh].at) > memoTime) {
		h.links[h.fresh].forget()
		h.fresh++
	}
	for h.first < len(h.links)-1 {
		l := h.links[h.first]
		old := now.Sub(l.at) > h.limit.window
		if h.bytes <= h.limit.low || (!old && h.bytes <= h.limit.high) {
			break
		}
		h.evict(l)
	}
	if h.first > 1024 && h.first > len(h.links)/2 {
		n := copy(h.links, h.links[h.first:])
		clear(h.links[n:])
		h.links, h.fresh, h.first = h.links[:n], h.fresh-h.first, 0
	}
}

func (l *link) weigh() {
	for i := range l.changes {
		c := &l.changes[i]
		l.bytes += 256
		if c.old != nil {
			l.bytes += len(c.old.Raw)
		}
	}
}

func (h *history) tell(s *stream, l *link) {
	s.push(l)
	if !s.news {
		s.news = true
		h.news = append(h.news, s)
	}
}

// eachBucket visits the streams that a link belongs to, each once.
func (h *history) eachBucket(l *link, visit func(*stream)) {
	var last *stream
	seen := map[*stream]bool{}
	one := func(b bucket) {
		s := h.buckets[b]
		if s == nil || s == last || seen[s] {
			return
		}
		if last != nil {
			seen[last] = true
		}
		last = s
		visit(s)
	}
	for i := range l.changes {
		c := &l.changes[i]
		if c.new != nil {
			bucketsOf(c.new, h.index, one)
		}
		if c.old != nil {
			bucketsOf(c.old, h.index, one)
		}
	}
}

// forget drops the shared encodings.
func (l *link) forget() {
	for i := range l.changes {
		for j := range l.changes[i].memos {
			l.changes[i].memos[j].Drop()
		}
	}
}

func (h *history) evict(l *link) {
	h.links[h.first] = nil
	h.first++
	h.bytes -= l.bytes
	h.since, h.whole = l.revision, len(l.changes) < 2
	h.main.evict(l)
	if len(h.buckets) > 0 {
		h.eachBucket(l, func(s *stream) { s.evict(l) })
	}
	if h.fresh < h.first {
		l.forget()
		h.fresh = h.first
	}
}

// wake tells the streams with news.
func (h *history) wake() {
	for i, s := range h.news {
		s.news = false
		s.wake()
		h.news[i] = nil
	}
	h.news = h.news[:0]
}

// stream is a list of links that watchers follow. It is not the watchers'
// memory: when the history evicts a link, the list is cut before it, and a
// watcher that still stands there finds out that it has expired.
type stream struct {
	// base is the node before the first one that is still there, tail the
	// last one. Guarded by the collection.
	base, tail *streamNode
	news       bool
	watchers   int

	mu sync.Mutex
	// guarded by mu
	signal  chan struct{} // nil when nobody waits
	waiting int
	woken   time.Time
	pending bool
	alarms  []storage.Alarm
}

type streamNode struct {
	link *link
	next atomic.Pointer[streamNode]
}

// expiredNode ends a list that was cut.
var expiredNode = &streamNode{}

func newStream() *stream {
	n := &streamNode{}
	return &stream{base: n, tail: n}
}

func (s *stream) push(l *link) {
	n := &streamNode{link: l}
	s.tail.next.Store(n)
	s.tail = n
}

func (s *stream) evict(l *link) {
	first := s.base.next.Load()
	if first == nil || first.link != l {
		return
	}
	s.base.next.Store(expiredNode)
	s.base = first
}

// expire cuts the list before every watcher, also before those at its end.
func (s *stream) expire() {
	for n := s.base; n != nil && n != expiredNode; {
		next := n.next.Load()
		n.next.Store(expiredNode)
		n = next
	}
	s.base = &streamNode{}
	s.tail = s.base
	s.wakeNow()
}

// wakeCost is about what it takes to wake one watcher and have it send
// something. With many of them, they are woken for several changes together.
const wakeCost = 5 * time.Microsecond

func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signal == nil && len(s.alarms) == 0 || s.pending {
		return
	}
	interval := min(time.Duration(s.waiting+len(s.alarms))*wakeCost, 20*time.Millisecond)
	if interval > 500*time.Microsecond {
		if wait := interval - time.Since(s.woken); wait > 0 {
			s.pending = true
			time.AfterFunc(wait, s.wakeNow)
			return
		}
	}
	s.broadcast()
}

func (s *stream) wakeNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = false
	s.broadcast()
}

// broadcast needs mu.
func (s *stream) broadcast() {
	for _, a := range s.alarms {
		a.Ring()
	}
	if s.signal != nil {
		close(s.signal)
		s.signal, s.waiting = nil, 0
	}
	s.woken = time.Now()
}

// Join has a ring with every change from now on.
func (s *stream) Join(a storage.Alarm) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarms = append(s.alarms, a)
}

// Leave ends that.
func (s *stream) Leave(a storage.Alarm) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.alarms, a); i >= 0 {
		s.alarms = slices.Delete(s.alarms, i, i+1)
	}
}

// wait is a channel that is closed at the next change.
func (s *stream) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signal == nil {
		s.signal = make(chan struct{})
	}
	s.waiting++
	return s.signal
}
