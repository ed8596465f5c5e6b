package watchcache

import (
	"context"
	"math/rand/v2"
	"time"

	"xebec.dev/apiserver/internal/storage"
)

const (
	// batchEvents is about how many events Next returns at a time.
	batchEvents = 256
	// bookmarkEvery is the pause between bookmarks; beforeEnd is how long
	// before the end of a watch the last one comes.
	bookmarkEvery = time.Minute
	beforeEnd     = 2 * time.Second
)

// watcher is a cursor into a collection's history.
type watcher struct {
	c       *collection
	s       selector
	history *history
	stream  *stream
	bucket  bucket

	// initial are the objects to begin with, from a key on.
	initial    *view
	from       key
	initialEnd bool

	// backlog is what the history held at the start; then the stream goes on
	// after node.
	backlog []*link
	node    *streamNode
	// after: revisions up to it are not delivered.
	after    int64
	revision int64
	// open is a revision of which the client may have seen a part; 0 if there
	// is none.
	open int64
	// grouped is the newest revision delivered of which several changes were
	// visible: no bookmark may carry it.
	grouped int64

	events    []storage.Event
	bookmarks bool
	bookmark  time.Time
	ended     bool      // the last bookmark was sent
	due       time.Time // when the next one is, after Poll
}

// Watch starts a cursor.
func (c *collection) Watch(ctx context.Context, o storage.WatchOptions) (storage.Watcher, error) {
	w := &watcher{c: c, s: newSelector(o.Selection), bookmarks: o.Bookmarks}
	w.bucket = w.s.bucketOf(c.resource.Namespaced, c.index)
	w.bookmark = time.Now().Add(bookmarkEvery - rand.N(bookmarkEvery/4))
	if o.InitialEvents || o.Revision == 0 {
		w.initialEnd = o.InitialEvents
		return w, c.watchInitial(ctx, w, o)
	}
	if err := c.reach(ctx, storage.Any, 0); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.history.reaches(o) {
		c.mu.Unlock()
		err := c.extend(ctx, o)
		c.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	h := c.history
	if !h.reaches(o) {
		return nil, storage.ErrExpired
	}
	first := h.after(o.Revision)
	w.after = o.Revision
	switch {
	case o.Complete:
	case w.s.several(h.at(o.Revision)):
		first--
		w.after--
	case o.Revision > c.store.progress.get() && h.at(o.Revision) == nil:
		// The client is ahead of this cache, by way of another server. What
		// the revision changed is not known yet.
		w.after--
		w.open = o.Revision
	}
	w.revision = w.after
	w.follow(h)
	if live := h.live(); first < len(live) {
		w.backlog = append([]*link(nil), live[first:]...)
	}
	return w, nil
}

// watchInitial places a watcher at the newest view, which it delivers first.
func (c *collection) watchInitial(ctx context.Context, w *watcher, o storage.WatchOptions) error {
	if err := c.reach(ctx, o.Match, o.Revision); err != nil {
		return c.behind(err, o.Revision)
	}
	for {
		if _, _, err := c.settled(ctx, &w.s); err != nil {
			return err
		}
		c.mu.Lock()
		v, revision := c.current()
		if revision == v.changed && (v.unknown || w.s.several(v.last)) {
			c.mu.Unlock()
			continue
		}
		for _, err := range v.corrupt {
			c.mu.Unlock()
			return err
		}
		w.initial, w.from = v, key{namespace: w.s.Namespace}
		w.revision, w.after = revision, revision
		w.follow(c.history)
		c.mu.Unlock()
		return nil
	}
}

// behind makes an error for clients of errBehind.
func (c *collection) behind(err error, revision int64) error {
	if err == errBehind {
		p := c.store.progress.get()
		return &storage.TooLargeRevision{Requested: max(revision, p+1), Current: p}
	}
	return err
}

// follow joins the stream at its end. It needs the collection's lock.
func (w *watcher) follow(h *history) {
	w.history, w.stream = h, h.main
	if w.bucket.kind != everything {
		s := h.buckets[w.bucket]
		if s == nil {
			s = newStream()
			h.buckets[w.bucket] = s
		}
		s.watchers++
		w.stream = s
	}
	w.node = w.stream.tail
}

// Close leaves the stream.
func (w *watcher) Close() {
	if w.bucket.kind == everything || w.stream == nil {
		return
	}
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.stream.watchers--; w.stream.watchers == 0 && w.history.buckets[w.bucket] == w.stream {
		delete(w.history.buckets, w.bucket)
	}
	w.stream = nil
}

// Revision is how far the watcher is complete.
func (w *watcher) Revision() int64 { return w.revision }

// Next waits for events.
func (w *watcher) Next(ctx context.Context) ([]storage.Event, error) {
	for {
		events, wait, err := w.poll(ctx)
		if len(events) > 0 || err != nil {
			return events, err
		}
		if err := w.wait(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// Poll is Next without waiting.
func (w *watcher) Poll(ctx context.Context) ([]storage.Event, error) {
	select {
	case <-w.c.store.closed:
		return nil, storage.ErrClosed
	default:
	}
	events, wait, err := w.poll(ctx)
	w.due = time.Time{}
	if wait > 0 {
		w.due = time.Now().Add(wait)
	}
	return events, err
}

// Due is when the next bookmark is.
func (w *watcher) Due() time.Time { return w.due }

// Topic is rung when the history that the watcher follows goes on.
func (w *watcher) Topic() storage.Topic { return w.stream }

// poll gives what there is now, or how long to wait for a bookmark if nothing
// comes before it.
func (w *watcher) poll(ctx context.Context) ([]storage.Event, time.Duration, error) {
	clear(w.events)
	w.events = w.events[:0]
	if w.initial != nil {
		w.takeInitial()
		if len(w.events) > 0 {
			return w.events, 0, nil
		}
	}
	if w.initialEnd {
		w.initialEnd = false
		w.events = append(w.events, storage.Event{Type: storage.Bookmark, Revision: w.revision, InitialEventsEnd: true})
		return w.events, 0, nil
	}
	// Before draining: what is then in the stream is all up to here.
	progress := w.c.store.progress.get()
	drained, err := w.drain()
	switch {
	case len(w.events) > 0:
		return w.events, 0, nil
	case err != nil:
		return nil, 0, err
	}
	if drained {
		w.revision = max(w.revision, progress)
	}
	wait, due := w.bookmarkDue(ctx)
	if due {
		w.events = append(w.events, storage.Event{Type: storage.Bookmark, Revision: w.revision})
	}
	return w.events, wait, nil
}

// takeInitial delivers the next of the objects to begin with.
func (w *watcher) takeInitial() {
	q := query{selector: w.s, from: w.from, limit: batchEvents}
	l, err := w.c.page(w.initial, q, w.revision)
	if err != nil {
		// A view with unreadable objects is refused at the start.
		panic(err)
	}
	for _, o := range l.Objects {
		w.events = append(w.events, storage.Event{Type: storage.Added, Object: o, Revision: o.Revision})
	}
	if l.Continue == "" {
		w.initial = nil
		return
	}
	last := l.Objects[len(l.Objects)-1]
	w.from = key{namespace: last.Namespace, name: last.Name + "\x00"}
}

// drain delivers whole revisions until there are enough events. It reports
// whether there was nothing more.
func (w *watcher) drain() (bool, error) {
	for i, l := range w.backlog {
		if len(w.events) >= batchEvents {
			w.backlog = w.backlog[i:]
			return false, nil
		}
		w.take(l)
	}
	w.backlog = nil
	for len(w.events) < batchEvents {
		n := w.node.next.Load()
		if n == nil {
			return true, nil
		}
		if n == expiredNode {
			return false, w.c.ending()
		}
		w.node = n
		w.take(n.link)
	}
	return false, nil
}

// ending is why a cut stream ended.
func (c *collection) ending() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired != nil {
		return c.retired
	}
	return storage.ErrExpired
}

// take adds what is visible of one revision.
func (w *watcher) take(l *link) {
	if l.revision <= w.after {
		return
	}
	if l.revision == w.open && !w.s.several(l) {
		w.revision = l.revision
		return
	}
	n := len(w.events)
	for i := range l.changes {
		ch := &l.changes[i]
		if t, o, ok := w.s.see(ch); ok {
			e := storage.Event{Type: t, Object: o, Revision: l.revision, Memo: &ch.memos[t]}
			if t == storage.Modified {
				e.Old = ch.old
			}
			w.events = append(w.events, e)
		}
	}
	w.revision = l.revision
	if len(w.events)-n > 1 {
		w.grouped = l.revision
	}
}

// bookmarkDue is whether to send a bookmark now, and else when to look again.
func (w *watcher) bookmarkDue(ctx context.Context) (time.Duration, bool) {
	if !w.bookmarks {
		return 0, false
	}
	now := time.Now()
	next := w.bookmark
	deadline, ends := ctx.Deadline()
	if ends && !w.ended && deadline.Add(-beforeEnd).Before(next) {
		next = deadline.Add(-beforeEnd)
	}
	if wait := next.Sub(now); wait > 0 {
		return wait, false
	}
	if w.revision == w.grouped {
		w.c.store.fence(w.revision)
		return 10 * time.Millisecond, false
	}
	if w.revision < w.open {
		return 10 * time.Millisecond, false // the client is further than this
	}
	if ends && !now.Before(deadline.Add(-beforeEnd)) {
		w.ended = true
	}
	w.bookmark = now.Add(bookmarkEvery)
	return 0, true
}

// wait blocks until there is something in the stream, or for a time.
func (w *watcher) wait(ctx context.Context, d time.Duration) error {
	signal := w.stream.wait()
	if w.node.next.Load() != nil {
		return nil
	}
	var timeout <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-signal:
	case <-timeout:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.c.store.closed:
		return storage.ErrClosed
	}
	return nil
}
