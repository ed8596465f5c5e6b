// Package watchcache serves reads from memory: for each resource the stored
// bytes of its objects in order, and the recent changes for watchers. It
// follows one feed of the store below and passes writes on to it.
//
// One goroutine, Run, owns the feed and changes the collections. Readers load
// immutable views without locks.
package watchcache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
	"xebec.dev/apiserver/internal/storage/value"
)

// Options for New; the zero value works.
type Options struct {
	// Transformer gives the encryption of a resource's values; nil for none.
	Transformer func(*scheme.Resource) value.Transformer
	// Wait bounds how long a read waits for the cache to catch up: 3 s.
	Wait time.Duration
	// Batch bounds grouped writes.
	Batch kv.BatcherOptions
	// KeyPrefix is the store's; set by New.
	KeyPrefix string
	Log       *zap.Logger

	// Watchdog is how often the feed is checked while nothing happens: 10 s.
	Watchdog time.Duration

	limit historyLimit
}

func (o *Options) wait() time.Duration {
	if o.Wait == 0 {
		return 3 * time.Second
	}
	return o.Wait
}

// indexOf is the field label that a resource's objects are indexed by.
func (o *Options) indexOf(*scheme.Resource) string { return "spec.nodeName" }

// Store is the cache of everything.
type Store struct {
	kv      kv.Store
	o       Options
	log     *zap.Logger
	batcher *kv.Batcher

	progress progress
	reads    readIndex
	closed   chan struct{}
	fencing  atomic.Bool
	nudged   atomic.Int64 // unix nanoseconds
	reader   decoded

	// following is held while the collections change: by the feed, and when
	// a collection joins it.
	following sync.Mutex
	// guarded by following
	loaded  bool
	running context.Context
	touched []*collection

	mu sync.RWMutex
	// guarded by mu
	collections map[string]*collection // by prefix
	feed        kv.Feed
	restart     context.CancelFunc
	marks       []mark
	ready       bool
	problem     error // why it is not ready
}

// mark remembers which revision was the newest when.
type mark struct {
	at       time.Time
	revision int64
}

// New makes the cache of the stored ones among resources. Run fills it.
func New(backend kv.Store, resources []*scheme.Resource, o Options) *Store {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Watchdog == 0 {
		o.Watchdog = 10 * time.Second
	}
	if o.limit == (historyLimit{}) {
		o.limit = defaultLimit
	}
	o.KeyPrefix = backend.Prefix()
	s := &Store{
		kv:          backend,
		o:           o,
		log:         o.Log,
		batcher:     kv.NewBatcher(backend, o.Batch),
		closed:      make(chan struct{}),
		collections: map[string]*collection{},
		problem:     errors.New("the cache is not filled yet"),
	}
	s.reads.read = backend.Revision
	s.reader.store = s
	for _, r := range resources {
		if r.StoragePrefix == "" {
			continue
		}
		c := newCollection(s, r)
		if have := s.collections[c.prefix]; have != nil {
			panic(fmt.Sprintf("watchcache: %s and %s are stored in one place", r.Plural, have.resource.Plural))
		}
		s.collections[c.prefix] = c
	}
	return s
}

// Run fills the cache and follows the store until ctx ends. It recovers from
// everything that goes wrong on the way.
func (s *Store) Run(ctx context.Context) error {
	defer close(s.closed)
	s.following.Lock()
	s.running = ctx
	s.following.Unlock()
	pause := 50 * time.Millisecond
	for {
		began := time.Now()
		err := s.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.fail(err)
		if time.Since(began) > 10*time.Second {
			pause = 50 * time.Millisecond
		}
		s.log.Warn("lost the feed of changes", zap.Error(err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
}

func (s *Store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready, s.problem = false, err
}

// errRestored means that the store's revision is lower than it was: it was
// restored from a backup, and nothing we know of it holds.
var errRestored = errors.New("the database went back to an older revision")

// follow loads what is not loaded and then takes changes until the feed ends.
func (s *Store) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	now, err := s.kv.Revision(ctx)
	if err != nil {
		return err
	}
	s.following.Lock()
	if s.loaded && now < s.progress.get() {
		s.log.Warn("the database was restored from a backup; loading it anew")
		s.loaded = false
	}
	loaded := s.loaded
	s.following.Unlock()
	if !loaded {
		if err := s.load(ctx, now); err != nil {
			return err
		}
	}
	feed, err := s.kv.Watch(ctx, s.progress.get())
	if err != nil {
		return err
	}
	defer feed.Close()
	s.mu.Lock()
	s.feed, s.restart = feed, cancel
	s.mu.Unlock()
	if !loaded {
		// Of the revision that was loaded it is not known how many objects
		// it changed; no list may carry it.
		s.fence(now)
	}
	go s.watchdog(ctx, cancel)
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.feed, s.restart = nil, nil
	}()
	if s.progress.get() >= now {
		s.settledReady()
	}
	for {
		// A feed with nothing to tell says nothing, not even when asked.
		if s.progress.get() >= now {
			s.settledReady()
		}
		b, err := feed.Recv()
		if err != nil {
			var compacted *kv.Compacted
			if errors.As(err, &compacted) {
				s.forget()
			}
			return err
		}
		s.apply(b)
	}
}

func (s *Store) settledReady() {
	s.mu.RLock()
	ready := s.ready
	s.mu.RUnlock()
	if ready {
		return
	}
	// Loading leaves much garbage behind, and less will do from now on.
	go debug.FreeOSMemory()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready, s.problem = true, nil
}

// watchdog ends a feed that has fallen silent although there is something to
// tell: a connection can hang in a way that only hurts one stream. It also
// keeps bookmarks and the marks of compaction moving while nothing happens.
func (s *Store) watchdog(ctx context.Context, restart func()) {
	tick := time.NewTicker(s.o.Watchdog)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		before := s.progress.get()
		now, err := s.CurrentRevision(ctx)
		if err != nil || now <= before {
			continue
		}
		wait, cancel := context.WithTimeout(ctx, s.o.wait())
		s.progress.wait(wait, before+1, s.nudge)
		cancel()
		if ctx.Err() == nil && s.progress.get() <= before {
			s.log.Warn("the feed of changes is stuck", zap.Int64("at", before), zap.Int64("revision", now))
			restart()
			return
		}
	}
}

// forget makes the next round load everything.
func (s *Store) forget() {
	s.following.Lock()
	defer s.following.Unlock()
	s.loaded = false
}

// apply takes one batch: whole revisions.
func (s *Store) apply(b kv.Batch) {
	s.following.Lock()
	defer s.following.Unlock()
	now := time.Now()
	touched := s.touched[:0]
	for i := range b.Events {
		e := &b.Events[i]
		c := s.route(e.Key)
		switch {
		case c == nil:
		case c.loading:
			c.held = append(c.held, *e)
		case e.Revision > c.since:
			if c.next == nil {
				touched = append(touched, c)
			}
			c.apply(e, now)
		}
	}
	for _, c := range touched {
		c.publish(now)
	}
	s.progress.set(max(b.Revision, s.progress.get()))
	s.mark(now)
	for i, c := range touched {
		c.wake()
		touched[i] = nil
	}
	s.touched = touched[:0]
}

// route finds the collection of a key: its prefix has one or two segments.
func (s *Store) route(key string) *collection {
	s.mu.RLock()
	defer s.mu.RUnlock()
	first := strings.IndexByte(key, '/') + 1
	if first == 0 {
		return nil
	}
	if c := s.collections[key[:first]]; c != nil {
		return c
	}
	second := strings.IndexByte(key[first:], '/') + 1
	if second == 0 {
		return nil
	}
	return s.collections[key[:first+second]]
}

const (
	markEvery = 10 * time.Second
	// recent revisions are not asked for whether they are compacted.
	recent = 30 * time.Second
)

func (s *Store) mark(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.marks); n > 0 && now.Sub(s.marks[n-1].at) < markEvery {
		return
	}
	s.marks = append(s.marks, mark{now, s.progress.get()})
	for len(s.marks) > 1 && now.Sub(s.marks[1].at) > recent {
		s.marks = s.marks[1:]
	}
}

// compacted reports whether a revision's history is gone below. What we hold
// ourselves may reach further back, but an old revision that works here and
// not at another server would only confuse.
func (s *Store) compacted(ctx context.Context, revision int64) (bool, error) {
	s.mu.RLock()
	old := len(s.marks) > 0 && revision < s.marks[0].revision && time.Since(s.marks[0].at) > recent
	s.mu.RUnlock()
	if !old {
		return false, nil
	}
	_, _, err := s.kv.Get(ctx, kv.FenceKey, revision)
	var gone *kv.Compacted
	if errors.As(err, &gone) {
		return true, nil
	}
	return false, err
}

// CurrentRevision is the newest revision, linearizable.
func (s *Store) CurrentRevision(ctx context.Context) (int64, error) {
	before := s.progress.get()
	revision, err := s.newestRevision(ctx)
	// An embedded etcd tells watchers of a revision a moment before it counts
	// it as its own; a restored one stays behind.
	for attempt := 0; err == nil && revision < before && attempt < 10; attempt++ {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		revision, err = s.newestRevision(ctx)
	}
	if err != nil {
		return 0, err
	}
	if revision < before {
		s.mu.RLock()
		if s.restart != nil {
			s.restart()
		}
		s.mu.RUnlock()
		return 0, errRestored
	}
	return revision, nil
}

func (s *Store) newestRevision(ctx context.Context) (int64, error) {
	if revision, ok := s.localRevision(); ok {
		return revision, nil
	}
	return s.reads.get(ctx)
}

func (s *Store) localRevision() (int64, bool) {
	if l, ok := s.kv.(kv.Local); ok {
		return l.LocalRevision()
	}
	return 0, false
}

// Ready is nil once every cache has its objects and the store below answers.
func (s *Store) Ready(ctx context.Context) error {
	s.mu.RLock()
	ready, problem := s.ready, s.problem
	s.mu.RUnlock()
	if !ready {
		return problem
	}
	_, err := s.CurrentRevision(ctx)
	return err
}

// nudge asks the feed how far it has come.
func (s *Store) nudge() {
	now := time.Now().UnixNano()
	last := s.nudged.Load()
	if now-last < int64(time.Millisecond) || !s.nudged.CompareAndSwap(last, now) {
		return
	}
	s.mu.RLock()
	feed := s.feed
	s.mu.RUnlock()
	if feed == nil {
		return
	}
	if err := feed.RequestProgress(); err != nil {
		s.log.Debug("progress request failed", zap.Error(err))
	}
}

// fence makes a later revision than the given one if there is none yet.
func (s *Store) fence(revision int64) {
	if s.progress.get() > revision || !s.fencing.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer s.fencing.Store(false)
		_, _, err := s.kv.Apply(context.Background(), []kv.Write{{Key: kv.FenceKey, Compare: kv.Anything}})
		if err != nil {
			s.log.Warn("fence not written", zap.Error(err))
		}
	}()
}

// Collection gives a resource's objects. One that New was not told of, a
// custom resource, is loaded from now on.
func (s *Store) Collection(r *scheme.Resource) storage.Collection { return s.collection(r) }

func (s *Store) collection(r *scheme.Resource) *collection {
	prefix := strings.Trim(r.StoragePrefix, "/") + "/"
	s.mu.RLock()
	c := s.collections[prefix]
	s.mu.RUnlock()
	if c != nil {
		return c
	}
	return s.join(newCollection(s, r))
}

// Redefine changes what is selected of a custom resource whose definition has
// changed. Its objects are read anew and its watchers start again.
func (s *Store) Redefine(r *scheme.Resource) {
	s.following.Lock()
	defer s.following.Unlock()
	c := newCollection(s, r)
	s.mu.Lock()
	old := s.collections[c.prefix]
	s.collections[c.prefix] = c
	s.mu.Unlock()
	if s.loaded {
		s.catchUpLater(c)
	}
	old.retire(storage.ErrExpired)
}

// Forget drops a custom resource whose definition was deleted; its watchers
// end.
func (s *Store) Forget(r *scheme.Resource) {
	s.following.Lock()
	defer s.following.Unlock()
	prefix := strings.Trim(r.StoragePrefix, "/") + "/"
	s.mu.Lock()
	old := s.collections[prefix]
	delete(s.collections, prefix)
	s.mu.Unlock()
	old.retire(storage.ErrClosed)
}

// retire ends a collection's watchers with an error.
func (c *collection) retire(err error) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = err
	if c.history != nil {
		c.history.end()
	}
}

// Stats are what a collection holds, for metrics.
type Stats struct {
	Resource *scheme.Resource
	// Objects and their stored Bytes.
	Objects int
	Bytes   int64
	// History is the number of revisions that watches can resume from, in
	// HistoryBytes of older versions; Since is the first of them.
	History      int
	HistoryBytes int
	Since        int64
	// Watched is the number of parts that are watched by themselves.
	Watched int
}

// Stats tells what every collection holds.
func (s *Store) Stats() []Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Stats, 0, len(s.collections))
	for _, c := range s.collections {
		all = append(all, c.stats())
	}
	return all
}

func (c *collection) stats() Stats {
	out := Stats{Resource: c.resource}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view.Load()
	if v == nil {
		return out
	}
	h := c.history
	out.Objects, out.Bytes = v.objects.len(), v.bytes
	out.History, out.HistoryBytes, out.Since = len(h.live()), h.bytes, h.since
	out.Watched = len(h.buckets)
	return out
}
