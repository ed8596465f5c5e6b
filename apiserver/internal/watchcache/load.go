package watchcache

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
)

// loadWorkers load collections side by side.
const loadWorkers = 4

// contents is what a collection held at a revision.
type contents struct {
	objects []*storage.Object
	corrupt map[string]error
}

// load fills every collection with the state at one revision, the newest.
func (s *Store) load(ctx context.Context, revision int64) error {
	began := time.Now()
	all := slices.Collect(maps.Values(*s.table.Load()))
	found := make([]contents, len(all))
	if err := parallel(loadWorkers, len(all), func(i int) error {
		var err error
		found[i], err = all[i].read(ctx, revision)
		return err
	}); err != nil {
		return err
	}
	s.following.Lock()
	defer s.following.Unlock()
	objects := 0
	for i, c := range all {
		objects += len(found[i].objects)
		c.install(found[i], revision, s.o.limit)
	}
	// Readers see the new views with their own revision until progress
	// follows. After a restore from a backup it goes back.
	s.progress.set(revision)
	s.loaded = true
	s.mu.Lock()
	s.marks = nil
	s.mu.Unlock()
	for _, c := range *s.table.Load() {
		if c.view.Load() == nil {
			s.catchUpLater(c) // it joined in the meantime
		}
	}
	s.log.Info("objects loaded", zap.Int("objects", objects), zap.Int64("revision", revision), zap.Duration("elapsed", time.Since(began)))
	return nil
}

// parallel runs n jobs on some workers and returns the first error.
func parallel(workers, n int, job func(int) error) error {
	jobs := make(chan int)
	errs := make(chan error, workers)
	for range workers {
		go func() {
			var first error
			for i := range jobs {
				if first == nil {
					first = job(i)
				}
			}
			errs <- first
		}()
	}
	for i := range n {
		jobs <- i
	}
	close(jobs)
	var first error
	for range workers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// pageBytes is about how much to read at a time.
const pageBytes = 4 << 20

// read reads all objects at a revision. While one piece is indexed the next
// one is on its way.
func (c *collection) read(ctx context.Context, revision int64) (contents, error) {
	var out contents
	pieces := make(chan *kv.Page, 1)
	var failed error
	go func() {
		defer close(pieces)
		failed = c.pieces(ctx, revision, func(p *kv.Page) { pieces <- p })
	}()
	for piece := range pieces {
		if out.objects == nil {
			out.objects = make([]*storage.Object, 0, piece.Count)
		}
		for i := range piece.Entries {
			e := &piece.Entries[i]
			o, err := c.object(e.Key, e.Value, e.Revision)
			if err != nil {
				if out.corrupt == nil {
					out.corrupt = map[string]error{}
				}
				ns, name := c.names(e.Key)
				out.corrupt[path(ns, name)] = &storage.Corrupt{Key: e.Key, Revision: e.Revision, Err: err}
				c.store.log.Error("a stored object is corrupt", zap.String("key", e.Key), zap.Error(err))
				continue
			}
			out.objects = append(out.objects, o)
		}
	}
	return out, failed
}

// pieces gives everything stored at a revision: the first page, which says how
// much there is and mostly is all, and then what the store tells unasked or else
// page by page.
func (c *collection) pieces(ctx context.Context, revision int64, give func(*kv.Page)) error {
	q := kv.Range{Prefix: c.prefix, Limit: 500, Revision: revision}
	each := func(p *kv.Page) {
		if n := len(p.Entries); n > 0 {
			q.From = p.Entries[n-1].Key + "\x00"
			q.Limit = nextLimit(p)
		}
		give(p)
	}
	scanner, scans := c.store.kv.(kv.Scanner)
	for {
		page, err := c.store.kv.Range(ctx, q)
		if err != nil {
			return fmt.Errorf("load %s: %w", c.resource.Plural, err)
		}
		more := page.More && len(page.Entries) > 0
		each(page)
		if !more {
			return nil
		}
		if !scans {
			continue
		}
		if err = scanner.Scan(ctx, q, each); err == nil {
			return nil
		}
		scans = false
		c.store.log.Debug("loading goes on in pages", zap.String("resource", c.resource.Plural), zap.Error(err))
	}
}

// nextLimit chooses the size of the next page by the size of this one.
func nextLimit(p *kv.Page) int64 {
	bytes := 1
	for i := range p.Entries {
		bytes += len(p.Entries[i].Value)
	}
	return min(max(int64(pageBytes)*int64(len(p.Entries))/int64(bytes), 16), 5000)
}

// install replaces the contents in one step. Watchers of what was there
// before expire, since changes may be missing in between. It needs following.
func (c *collection) install(found contents, revision int64, limit historyLimit) {
	v := &view{
		objects: build(found.objects, -1),
		changed: revision,
		// Revision 1 is an empty store.
		unknown: revision > 1,
		corrupt: found.corrupt,
	}
	for _, o := range found.objects {
		v.bytes += int64(len(o.Raw))
	}
	v.byField = tree{field: c.index}
	if c.index >= 0 {
		v.byField = build(grouped(found.objects, c.index), c.index)
	}
	c.mu.Lock()
	old := c.history
	c.history = newHistory(revision, !v.unknown, limit, c.index)
	c.exact = nil
	c.own.reset()
	c.since = revision
	c.loading, c.held = false, nil
	c.view.Store(v)
	c.mu.Unlock()
	if old != nil {
		old.end()
		return
	}
	close(c.loaded)
}

// grouped orders objects by a field. Those of one value stay in their order.
func grouped(objects []*storage.Object, field int) []*storage.Object {
	groups := map[string][]*storage.Object{}
	for _, o := range objects {
		groups[o.Fields[field]] = append(groups[o.Fields[field]], o)
	}
	out := make([]*storage.Object, 0, len(objects))
	for _, value := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, groups[value]...)
	}
	return out
}

// join adds a collection while the feed runs.
func (s *Store) join(c *collection) *collection {
	s.following.Lock()
	defer s.following.Unlock()
	if have := (*s.table.Load())[c.prefix]; have != nil {
		return have
	}
	s.replace(c.prefix, c)
	if s.loaded {
		s.catchUpLater(c)
	}
	return c
}

func (s *Store) catchUpLater(c *collection) {
	c.loading = true
	go s.catchUp(s.running, c)
}

// catchUp loads a collection that joined late. From when it joined, the feed
// holds its events back, so that none is missed.
func (s *Store) catchUp(ctx context.Context, c *collection) {
	for ctx.Err() == nil {
		revision, err := s.kv.Revision(ctx)
		var found contents
		if err == nil {
			found, err = c.read(ctx, revision)
		}
		if err != nil {
			s.log.Warn("loading a collection failed", zap.String("resource", c.resource.Plural), zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
			continue
		}
		s.following.Lock()
		defer s.following.Unlock()
		if !c.loading || c.retired != nil {
			return // loaded with all the others in the meantime
		}
		held, now := c.held, time.Now()
		c.install(found, revision, s.o.limit)
		for i := range held {
			if e := &held[i]; e.Revision > revision {
				c.apply(e, now)
			}
		}
		if c.next != nil {
			c.publish(now)
			c.wake()
		}
		return
	}
}

func (w *ownWrites) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.objects, w.passed = nil, 0
}
