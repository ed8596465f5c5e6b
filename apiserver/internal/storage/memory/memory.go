// Package memory is a kv.Store in memory, with history and compaction, for
// tests of what is built on it. It behaves as etcd does.
package memory

import (
	"bytes"
	"context"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
)

// Store is the map and its history.
type Store struct {
	mu sync.Mutex
	// guarded by mu
	revision  int64
	compacted int64
	history   []kv.Event // in order of revision
	versions  map[string][]version
	wake      chan struct{}
	broken    error // what feeds and writes fail with
	feeds     map[*feed]bool
}

// version is a key's value since a revision; deleted when value is nil.
type version struct {
	revision int64
	value    []byte
	deleted  bool
}

// New is an empty store at revision 1, like a new etcd.
func New() *Store {
	return &Store{revision: 1, versions: map[string][]version{}, wake: make(chan struct{}), feeds: map[*feed]bool{}}
}

// Prefix is Kubernetes' default.
func (s *Store) Prefix() string { return "/registry/" }

// Compact forgets history before revision.
func (s *Store) Compact(revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision <= s.compacted || revision > s.revision {
		return
	}
	s.compacted = revision
	i := sort.Search(len(s.history), func(i int) bool { return s.history[i].Revision > revision })
	s.history = slices.Clone(s.history[i:])
	for key, vs := range s.versions {
		n := 0
		for n+1 < len(vs) && vs[n+1].revision <= revision {
			n++
		}
		if n == len(vs)-1 && vs[n].deleted && vs[n].revision <= revision {
			delete(s.versions, key)
			continue
		}
		s.versions[key] = slices.Clone(vs[n:])
	}
}

// Break ends every feed as a lost connection does.
func (s *Store) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.feeds {
		f.broken = true
	}
	s.notify()
}

// Fail makes every request fail with err until it is nil again.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
	s.notify()
}

func (s *Store) notify() {
	close(s.wake)
	s.wake = make(chan struct{})
}

func at(vs []version, revision int64) (version, bool) {
	for i := len(vs) - 1; i >= 0; i-- {
		if vs[i].revision <= revision {
			return vs[i], !vs[i].deleted
		}
	}
	return version{}, false
}

func (s *Store) readable(revision int64) (int64, error) {
	switch {
	case s.broken != nil:
		return 0, s.broken
	case revision == 0:
		return s.revision, nil
	case revision > s.revision:
		return 0, kv.ErrFuture
	case revision < s.compacted:
		return 0, &kv.Compacted{Revision: s.compacted}
	}
	return revision, nil
}

// Get reads one key.
func (s *Store) Get(ctx context.Context, key string, revision int64) (*kv.Entry, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	revision, err := s.readable(revision)
	if err != nil {
		return nil, 0, err
	}
	v, ok := at(s.versions[key], revision)
	if !ok {
		return nil, s.revision, nil
	}
	return &kv.Entry{Key: key, Value: bytes.Clone(v.value), Revision: v.revision}, s.revision, nil
}

// Range reads keys in order.
func (s *Store) Range(ctx context.Context, r kv.Range) (*kv.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	revision, err := s.readable(r.Revision)
	if err != nil {
		return nil, err
	}
	var keys []string
	for key, vs := range s.versions {
		if _, ok := at(vs, revision); ok && strings.HasPrefix(key, r.Prefix) && key >= r.From {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	page := &kv.Page{Revision: s.revision, Count: int64(len(keys))}
	if r.CountOnly {
		return page, nil
	}
	if r.Limit > 0 && int64(len(keys)) > r.Limit {
		keys, page.More = keys[:r.Limit], true
	}
	for _, key := range keys {
		v, _ := at(s.versions[key], revision)
		page.Entries = append(page.Entries, kv.Entry{Key: key, Value: bytes.Clone(v.value), Revision: v.revision})
	}
	return page, nil
}

// Apply does a transaction.
func (s *Store) Apply(ctx context.Context, writes []kv.Write) (int64, []kv.Result, error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, nil, s.broken
	}
	next := s.revision + 1
	results := make([]kv.Result, len(writes))
	for i, w := range writes {
		results[i] = s.write(w, next)
	}
	if n := len(s.history); n > 0 && s.history[n-1].Revision == next {
		s.revision = next
		s.notify()
	}
	return s.revision, results, nil
}

func (s *Store) write(w kv.Write, revision int64) kv.Result {
	vs := s.versions[w.Key]
	current, ok := at(vs, revision)
	var have int64
	if ok {
		have = current.revision
	}
	if w.Compare != kv.Anything && w.Compare != have {
		if !ok {
			return kv.Result{}
		}
		return kv.Result{Current: &kv.Entry{Key: w.Key, Value: bytes.Clone(current.value), Revision: have}}
	}
	if w.Delete && !ok {
		return kv.Result{Done: true}
	}
	v := version{revision: revision, value: bytes.Clone(w.Value), deleted: w.Delete}
	s.versions[w.Key] = append(vs, v)
	s.history = append(s.history, kv.Event{Key: w.Key, Value: v.value, Delete: w.Delete, Revision: revision})
	if w.TTL > 0 {
		time.AfterFunc(w.TTL, func() {
			// The key must still be the version that this TTL belongs to.
			s.Apply(context.Background(), []kv.Write{{Key: w.Key, Delete: true, Compare: revision}})
		})
	}
	return kv.Result{Done: true}
}

// Revision is the newest.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision, s.broken
}

// Watch starts a feed.
func (s *Store) Watch(ctx context.Context, after int64) (kv.Feed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return nil, s.broken
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &feed{s: s, ctx: ctx, cancel: cancel, after: after}
	s.feeds[f] = true
	return f, nil
}

// History is a part of the past.
func (s *Store) History(ctx context.Context, prefix string, after, upTo int64, bytes int) ([]kv.Past, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return nil, s.broken
	}
	if after < s.compacted {
		return nil, &kv.Compacted{Revision: s.compacted}
	}
	var past []kv.Past
	for _, e := range s.history {
		if e.Revision <= after || e.Revision > upTo || !strings.HasPrefix(e.Key, prefix) {
			continue
		}
		p := kv.Past{Event: e}
		if v, ok := at(s.versions[e.Key], e.Revision-1); ok {
			p.Before = &kv.Entry{Key: e.Key, Value: v.value, Revision: v.revision}
			bytes -= len(v.value)
		}
		if bytes -= len(e.Value); bytes < 0 {
			return nil, kv.ErrTooLarge
		}
		past = append(past, p)
	}
	return past, nil
}

type feed struct {
	s      *Store
	ctx    context.Context
	cancel context.CancelFunc
	// guarded by s.mu
	after    int64
	progress bool
	broken   bool
}

func (f *feed) Recv() (kv.Batch, error) {
	s := f.s
	for {
		s.mu.Lock()
		if f.broken || s.broken != nil {
			s.mu.Unlock()
			return kv.Batch{}, storage.ErrClosed
		}
		if f.after < s.compacted {
			c := s.compacted
			s.mu.Unlock()
			return kv.Batch{}, &kv.Compacted{Revision: c}
		}
		i := sort.Search(len(s.history), func(i int) bool { return s.history[i].Revision > f.after })
		if i < len(s.history) || (f.progress && f.after <= s.revision) {
			b := kv.Batch{Events: slices.Clone(s.history[i:]), Revision: s.revision}
			f.after, f.progress = s.revision, false
			s.mu.Unlock()
			return b, nil
		}
		wake := s.wake
		s.mu.Unlock()
		select {
		case <-wake:
		case <-f.ctx.Done():
			return kv.Batch{}, context.Cause(f.ctx)
		}
	}
}

func (f *feed) RequestProgress() error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.progress = true
	f.s.notify()
	return nil
}

func (f *feed) Close() {
	f.cancel()
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	delete(f.s.feeds, f)
}
