package watchcache

import (
	"bytes"
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"xebec.dev/apiserver/internal/storage/kv"
)

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
	last := s.progress.get()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mark(time.Now())
		s.sweep(time.Now())
		s.reread(ctx)
		before := s.progress.get()
		if before > last {
			last = before
			continue // it was not silent
		}
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

// sweep lets go of what a quiet collection would keep until its next change.
func (s *Store) sweep(now time.Time) {
	for _, c := range *s.table.Load() {
		c.mu.Lock()
		if c.history != nil {
			c.history.trim(now)
		}
		for len(c.exact) > 0 && now.Sub(c.exact[0].made) > snapshotTime {
			c.exact = slices.Delete(c.exact, 0, 1)
		}
		c.mu.Unlock()
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
			held := *e
			held.Value = bytes.Clone(e.Value)
			c.held = append(c.held, held)
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
	table := *s.table.Load()
	first := strings.IndexByte(key, '/') + 1
	if first == 0 {
		return nil
	}
	if c := table[key[:first]]; c != nil {
		return c
	}
	second := strings.IndexByte(key[first:], '/') + 1
	if second == 0 {
		return nil
	}
	return table[key[:first+second]]
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
		if _, err := s.writeFence(context.Background()); err != nil {
			s.log.Warn("fence not written", zap.Error(err))
		}
	}()
}

func (s *Store) writeFence(ctx context.Context) (int64, error) {
	revision, _, err := s.kv.Apply(ctx, []kv.Write{{Key: kv.FenceKey, Compare: kv.Anything}})
	return revision, err
}

// fenced is a new revision that changed no object, for a list that the cache
// cannot serve: of another one it could not be told whether several objects
// share it, and who watches on from there would get them again. 0 if there
// can be none: a list from a store that takes no writes is better than none.
func (s *Store) fenced(ctx context.Context) int64 {
	revision, err := s.fences.get(ctx)
	if err != nil {
		s.log.Warn("fence not written", zap.Error(err))
		return 0
	}
	return revision
}
