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
	"maps"
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
	fences   readIndex // revisions made for lists
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

	// table has the collections by their prefix. The map is never changed,
	// but replaced while following is held.
	table atomic.Pointer[map[string]*collection]

	mu sync.RWMutex
	// guarded by mu; nothing is called with it held
	feed    kv.Feed
	restart context.CancelFunc
	marks   []mark
	ready   bool
	problem error // why it is not ready
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
		kv:      backend,
		o:       o,
		log:     o.Log,
		batcher: kv.NewBatcher(backend, o.Batch),
		closed:  make(chan struct{}),
		problem: errors.New("the cache is not filled yet"),
	}
	s.reads.read, s.fences.read = backend.Revision, s.writeFence
	s.reader.store = s
	table := map[string]*collection{}
	for _, r := range resources {
		if r.StoragePrefix == "" {
			continue
		}
		c := newCollection(s, r)
		if have := table[c.prefix]; have != nil {
			panic(fmt.Sprintf("watchcache: %s and %s are stored in one place", r.Plural, have.resource.Plural))
		}
		table[c.prefix] = c
	}
	s.table.Store(&table)
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
func (s *Store) compacted(ctx context.Context, revision int64) bool {
	s.mu.RLock()
	old := len(s.marks) > 0 && revision < s.marks[0].revision && time.Since(s.marks[0].at) > recent
	s.mu.RUnlock()
	if !old {
		return false
	}
	_, _, err := s.kv.Get(ctx, kv.FenceKey, revision)
	return errors.As(err, new(*kv.Compacted))
}

// CurrentRevision is the newest revision, linearizable.
func (s *Store) CurrentRevision(ctx context.Context) (int64, error) {
	before := s.progress.get()
	revision, err := s.newestRevision(ctx)
	// An embedded etcd tells watchers of a revision before it counts it as its
	// own: a moment, or as long as a busy machine lets that goroutine wait. It
	// can't be restored beneath us; another one that is stays behind.
	attempts := 10
	if _, embedded := s.localRevision(); embedded {
		attempts = 1000
	}
	for ; err == nil && revision < before && attempts > 0; attempts-- {
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
	if err := s.Loaded(); err != nil {
		return err
	}
	_, err := s.CurrentRevision(ctx)
	return err
}

// Written is when the newest write was sent that the store below took; zero
// when it has failed since.
func (s *Store) Written() time.Time { return s.batcher.Well() }

// Loaded is nil once every cache has its objects, and else says what is
// missing.
func (s *Store) Loaded() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.ready {
		return nil
	}
	return s.problem
}

// Collection gives a resource's objects. One that New was not told of, a
// custom resource, is loaded from now on.
func (s *Store) Collection(r *scheme.Resource) storage.Collection { return s.collection(r) }

func (s *Store) collection(r *scheme.Resource) *collection {
	if r.StoragePrefix == "" {
		panic(fmt.Sprintf("watchcache: %s are not stored", r.Plural))
	}
	prefix := strings.Trim(r.StoragePrefix, "/") + "/"
	if c := (*s.table.Load())[prefix]; c != nil {
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
	old := s.replace(c.prefix, c)
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
	s.replace(prefix, nil).retire(storage.ErrClosed)
}

// replace changes the table and returns what was there. It needs following.
func (s *Store) replace(prefix string, c *collection) *collection {
	table := maps.Clone(*s.table.Load())
	old := table[prefix]
	table[prefix] = c
	if c == nil {
		delete(table, prefix)
	}
	s.table.Store(&table)
	return old
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
