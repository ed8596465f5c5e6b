package watchcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/index"
	"xebec.dev/apiserver/internal/storage/kv"
	"xebec.dev/apiserver/internal/storage/value"
)

// collection is the cache of one resource.
type collection struct {
	store     *Store
	resource  *scheme.Resource
	prefix    string // of keys: StoragePrefix and a slash
	codec     *value.Codec
	extractor *index.Extractor
	index     int // into Fields: the field with an index, -1 for none

	view atomic.Pointer[view]
	// loaded is closed once there is a view.
	loaded chan struct{}

	mu sync.Mutex
	// guarded by mu; only the feed changes history and view
	history *history
	exact   []snapshot
	retired error // what watchers end with, nil while it is in use

	own ownWrites
	// extending is a lock that waiting for can be given up.
	extending chan struct{}

	// For the feed alone, between two publications.
	next     *view
	edit     *owner
	steps    []step
	revision int64 // of steps
	broken   bool  // an object became unreadable
	// since is the revision that was loaded; earlier events are in it.
	since int64
	// loading holds events back until the objects are there.
	loading bool
	held    []kv.Event
}

// view is a collection at one moment. It is immutable.
type view struct {
	objects tree
	byField tree // when the collection has an index
	// changed is the revision of the newest change in it.
	changed int64
	// last is that revision's link, nil when it is not in the history.
	last *link
	// unknown is set when it is not known how many objects changed at
	// revision changed: the view was loaded and not followed.
	unknown bool
	corrupt map[string]error
	bytes   int64 // of all objects, as stored
}

func newCollection(s *Store, r *scheme.Resource) *collection {
	extractor, err := index.New(r)
	if err != nil {
		panic(fmt.Sprintf("watchcache: the table of resources is wrong: %v", err))
	}
	c := &collection{
		store:     s,
		resource:  r,
		prefix:    strings.Trim(r.StoragePrefix, "/") + "/",
		extractor: extractor,
		index:     -1,
		loaded:    make(chan struct{}),
		extending: make(chan struct{}, 1),
	}
	var t value.Transformer
	if s.o.Transformer != nil {
		t = s.o.Transformer(r)
	}
	c.codec = value.NewCodec(r, t)
	for i, f := range r.Fields {
		if f.Label == s.o.indexOf(r) {
			c.index = i
		}
	}
	return c
}

func (c *collection) key(namespace, name string) string { return c.prefix + path(namespace, name) }

// object opens a stored value.
func (c *collection) object(key string, stored []byte, revision int64) (*storage.Object, error) {
	raw, stale, err := c.codec.Open(stored, c.store.o.KeyPrefix+key)
	if err != nil {
		return nil, err
	}
	o, err := c.indexed(key, raw, revision)
	if err != nil {
		return nil, err
	}
	o.Stale = stale
	return o, nil
}

// indexed makes the object of bytes under a key. The key has the last word on
// what the object is called.
func (c *collection) indexed(key string, raw []byte, revision int64) (*storage.Object, error) {
	o, err := c.extractor.Object(raw, revision)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", key, err)
	}
	ns, name := c.names(key)
	if o.Name != name {
		o.Name = strings.Clone(name)
	}
	if o.Namespace != ns {
		o.Namespace = strings.Clone(ns)
	}
	return o, nil
}

func (c *collection) names(key string) (namespace, name string) {
	rest := key[len(c.prefix):]
	if !c.resource.Namespaced {
		return "", rest
	}
	ns, name, ok := strings.Cut(rest, "/")
	if !ok {
		return "", rest
	}
	return ns, name
}

// current is the newest view and the revision it is complete to, once the
// collection is loaded.
//
// The order matters: the progress is read before the view. The view holds
// every change up to the progress read, and what it has beyond is counted by
// its own revision.
func (c *collection) current() (*view, int64) {
	p := c.store.progress.get()
	v := c.view.Load()
	return v, max(p, v.changed)
}

// Get reads one object.
func (c *collection) Get(ctx context.Context, namespace, name string, match storage.Match, revision int64) (*storage.Object, error) {
	if match == storage.Exact {
		return c.getAt(ctx, namespace, name, revision)
	}
	err := c.reach(ctx, match, revision)
	if errors.Is(err, errBehind) {
		return c.getAt(ctx, namespace, name, 0)
	}
	if err != nil {
		return nil, err
	}
	v := c.view.Load()
	o := v.objects.get(key{namespace: namespace, name: name})
	if o == nil {
		if err := v.corrupt[path(namespace, name)]; err != nil {
			return nil, err
		}
		return nil, storage.ErrNotFound
	}
	return o, nil
}

// getAt reads one object from the store below.
func (c *collection) getAt(ctx context.Context, namespace, name string, revision int64) (*storage.Object, error) {
	k := c.key(namespace, name)
	e, now, err := c.store.kv.Get(ctx, k, revision)
	if err != nil {
		return nil, c.readError(err, revision, now)
	}
	if e == nil {
		return nil, storage.ErrNotFound
	}
	o, err := c.object(k, e.Value, e.Revision)
	if err != nil {
		return nil, &storage.Corrupt{Key: k, Revision: e.Revision, Err: err}
	}
	return o, nil
}

func (c *collection) readError(err error, revision, now int64) error {
	var compacted *kv.Compacted
	switch {
	case errors.As(err, &compacted):
		return storage.ErrExpired
	case errors.Is(err, kv.ErrFuture):
		return &storage.TooLargeRevision{Requested: revision, Current: max(now, c.store.progress.get())}
	}
	return err
}

// errBehind means the cache did not catch up in time; the store below may
// know.
var errBehind = errors.New("the cache is behind")

// reach waits until the cache is as new as a read needs it.
func (c *collection) reach(ctx context.Context, match storage.Match, revision int64) error {
	if c.view.Load() != nil {
		switch match {
		case storage.Any:
			return nil
		case storage.Fresh:
			if r, ok := c.store.localRevision(); ok && r == c.store.progress.get() {
				return nil
			}
		}
	}
	wait, cancel := context.WithTimeout(ctx, c.store.o.wait())
	defer cancel()
	fresh := match == storage.Fresh
	if fresh {
		var err error
		if revision, err = c.store.CurrentRevision(wait); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("read the current revision: %w", err)
		}
	}
	select {
	case <-c.loaded:
	case <-wait.Done():
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return errBehind
	}
	if match == storage.Any || c.store.progress.wait(wait, revision, c.store.nudge) {
		return nil
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case fresh:
		return errBehind
	}
	return &storage.TooLargeRevision{Requested: revision, Current: c.store.progress.get()}
}

// settled is a view at a revision from which a client can watch on without
// seeing a part of it again: not one that several visible objects share. It
// waits for a later revision, and makes one when none comes.
func (c *collection) settled(ctx context.Context, s *selector) (*view, int64, error) {
	wait, cancel := context.WithTimeout(ctx, c.store.o.wait())
	defer cancel()
	for {
		v, revision := c.current()
		if revision != v.changed || !v.unknown && !s.several(v.last) {
			return v, revision, nil
		}
		if !c.store.progress.wait(wait, revision+1, func() { c.store.fence(revision) }) {
			if ctx.Err() != nil {
				return nil, 0, context.Cause(ctx)
			}
			return nil, 0, &storage.TooLargeRevision{Requested: revision + 1, Current: revision}
		}
	}
}

// Newest is the cached version, or our own write when the cache has yet to
// hear of it.
func (c *collection) Newest(namespace, name string) *storage.Object {
	// In this order: what is not among our own writes any more is in the view.
	own := c.own.get(namespace, name)
	var o *storage.Object
	if v := c.view.Load(); v != nil {
		o = v.objects.get(key{namespace: namespace, name: name})
	}
	switch {
	case own == nil || o != nil && o.Revision >= own.Revision:
		return o
	case own.Raw == nil:
		return nil
	}
	return own
}

// Count is the number of objects.
func (c *collection) Count() int {
	if v := c.view.Load(); v != nil {
		return v.objects.len()
	}
	return 0
}

// Changed is the newest change's revision.
func (c *collection) Changed() int64 {
	if v := c.view.Load(); v != nil {
		return v.changed
	}
	return 0
}

// begin prepares for changes in this batch.
func (c *collection) begin() {
	if c.next != nil {
		return
	}
	v := *c.view.Load()
	c.next, c.edit = &v, new(owner)
	c.mu.Lock() // until publish: the history changes with the view
}

// apply takes one event of the feed.
func (c *collection) apply(e *kv.Event, now time.Time) {
	c.begin()
	if len(c.steps) > 0 && c.revision != e.Revision {
		c.commit(now)
	}
	c.revision = e.Revision
	ns, name := c.names(e.Key)
	v := c.next
	ch := step{old: v.objects.get(key{namespace: ns, name: name})}
	var err error
	if !e.Delete {
		if ch.new = c.own.take(ns, name, e.Revision); ch.new == nil {
			ch.new, err = c.object(e.Key, bytes.Clone(e.Value), e.Revision)
		}
		if err != nil {
			ch.new, err = nil, &storage.Corrupt{Key: e.Key, Revision: e.Revision, Err: err}
			c.store.log.Error("a stored object became unreadable", zap.String("key", e.Key), zap.Error(err))
		}
	}
	v.setCorrupt(path(ns, name), err)
	v.changed, v.unknown = e.Revision, false
	c.replace(ch)
	switch {
	case err != nil:
		c.broken = true
	case ch.old != nil || ch.new != nil: // and not gone before we knew it
		c.steps = append(c.steps, ch)
	}
}

// replace takes a step in the next view.
func (c *collection) replace(s step) {
	v := c.next
	if s.old != nil {
		v.bytes -= int64(len(s.old.Raw))
		if c.index >= 0 && (s.new == nil || s.old.Fields[c.index] != s.new.Fields[c.index]) {
			v.byField = v.byField.remove(c.edit, v.byField.key(s.old))
		}
	}
	switch {
	case s.new != nil:
		v.bytes += int64(len(s.new.Raw))
		v.objects = v.objects.put(c.edit, s.new)
		if c.index >= 0 {
			v.byField = v.byField.put(c.edit, s.new)
		}
	case s.old != nil:
		v.objects = v.objects.remove(c.edit, key{namespace: s.old.Namespace, name: s.old.Name})
	}
}

// commit ends a revision.
func (c *collection) commit(now time.Time) {
	if len(c.steps) == 0 {
		return
	}
	l := newLink(c.revision, c.steps, now)
	clear(c.steps)
	c.steps = c.steps[:0]
	c.history.push(l)
	c.next.last = l
}

// publish makes the changes of a batch visible.
func (c *collection) publish(now time.Time) {
	c.commit(now)
	if c.broken {
		c.breakOff()
	}
	c.view.Store(c.next)
	c.own.drop(c.next.changed)
	c.next, c.edit = nil, nil
	c.mu.Unlock()
}

// wake tells the watchers. It comes after the store's progress has risen.
func (c *collection) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history.wake()
}

// ownWrites are our own writes that the feed has not brought yet.
type ownWrites struct {
	mu sync.Mutex
	// guarded by mu; Raw is nil for a deletion
	objects map[key]*storage.Object
	// passed is the revision that the feed has reached. The feed may bring a
	// write before we have its answer.
	passed int64
}

// tooManyOwn bounds the map while the feed is stuck; without it Newest is
// only less new.
const tooManyOwn = 10000

func (w *ownWrites) add(o *storage.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.Revision <= w.passed {
		return
	}
	if w.objects == nil || len(w.objects) >= tooManyOwn {
		w.objects = map[key]*storage.Object{}
	}
	k := key{namespace: o.Namespace, name: o.Name}
	if have := w.objects[k]; have == nil || have.Revision < o.Revision {
		w.objects[k] = o
	}
}

func (w *ownWrites) get(namespace, name string) *storage.Object {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.objects[key{namespace: namespace, name: name}]
}

// take is the object that we wrote at a revision, which spares reading it
// from the feed's bytes.
func (w *ownWrites) take(namespace, name string, revision int64) *storage.Object {
	o := w.get(namespace, name)
	if o == nil || o.Revision != revision || o.Raw == nil {
		return nil
	}
	return o
}

// drop forgets what the published view has.
func (w *ownWrites) drop(revision int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passed = revision
	for k, o := range w.objects {
		if o.Revision <= revision {
			delete(w.objects, k)
		}
	}
}
