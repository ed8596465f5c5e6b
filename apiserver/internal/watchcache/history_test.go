package watchcache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
	"xebec.dev/apiserver/internal/storage/memory"
	"xebec.dev/apiserver/internal/storage/storagetest"
)

func run(t *testing.T, backend kv.Store, o Options) *Store {
	s := New(backend, storagetest.Resources, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	for s.Ready(ctx) != nil {
		time.Sleep(time.Millisecond)
	}
	return s
}

// update writes an object over and over, 1 KB at a time.
func update(t *testing.T, c storage.Collection, name string, n int) *storage.Object {
	ctx := context.Background()
	o := c.Newest("a", name)
	for i := range n {
		raw := storagetest.ConfigMap("a", name, fmt.Sprint(i)+strings.Repeat("x", 1000), nil)
		var err error
		if o == nil {
			o, err = c.Create(ctx, "a", name, raw, 0)
		} else {
			o, err = c.Update(ctx, o, raw, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// A watcher that is too slow is told so; it does not keep the past alive and
// does not hold others up.
func TestSlowWatcher(t *testing.T) {
	limit := historyLimit{low: 10 << 10, high: 20 << 10, window: time.Minute}
	s := run(t, memory.New(), Options{limit: limit})
	c := s.Collection(storagetest.ConfigMaps)
	first := update(t, c, "x", 1)
	ctx := context.Background()
	everywhere, err := c.Watch(ctx, storage.WatchOptions{Revision: first.Revision})
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	one, err := c.Watch(ctx, storage.WatchOptions{Revision: first.Revision, Selection: storage.Selection{Namespace: "a", Name: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	quick, err := c.Watch(ctx, storage.WatchOptions{Revision: first.Revision})
	if err != nil {
		t.Fatal(err)
	}
	defer quick.Close()
	for range 50 {
		o := update(t, c, "x", 1)
		events, err := quick.Next(ctx)
		if err != nil || events[len(events)-1].Revision != o.Revision {
			t.Fatalf("quick: %v, %v", events, err)
		}
	}
	for _, w := range []storage.Watcher{everywhere, one} {
		if _, err := w.Next(ctx); !errors.Is(err, storage.ErrExpired) {
			t.Errorf("slow: %v", err)
		}
	}
	st := stats(s, "configmaps")
	if st.HistoryBytes > limit.high+2000 || st.History < 10 || st.History > 20 {
		t.Errorf("stats %+v", st)
	}
	// Ours is gone, etcd's is not; but it is more than we may keep.
	if _, err := c.Watch(ctx, storage.WatchOptions{Revision: first.Revision}); !errors.Is(err, storage.ErrExpired) {
		t.Errorf("watch from the start: %v", err)
	}
}

func stats(s *Store, plural string) Stats {
	for _, st := range s.Stats() {
		if st.Resource.Plural == plural {
			return st
		}
	}
	return Stats{}
}

// What is older than the window goes, but for a little.
func TestWindow(t *testing.T) {
	h := newHistory(0, true, historyLimit{low: 2000, high: 1 << 20, window: time.Minute}, -1)
	now := time.Now()
	for i := range 100 {
		o := &storage.Object{Name: "x", Raw: make([]byte, 744)}
		h.push(newLink(int64(i+1), []step{{old: o, new: o}}, now.Add(time.Duration(i)*time.Second)))
	}
	// A minute of links at a second each.
	if n := len(h.live()); n != 61 || h.since != 39 || h.bytes != 61000 {
		t.Errorf("%d links since %d, %d bytes", n, h.since, h.bytes)
	}
	h.trim(now.Add(time.Hour))
	if n := len(h.live()); n != 2 || h.since != 98 {
		t.Errorf("%d links since %d after an hour", n, h.since)
	}
}

// Encodings of a change are shared for a while and then let go.
func TestMemos(t *testing.T) {
	h := newHistory(0, true, defaultLimit, -1)
	now := time.Now()
	made := 0
	encode := func(l *link) {
		l.changes[0].memos[storage.Modified].Get(1, func() ([]byte, error) { made++; return nil, nil })
	}
	for i := range 300 {
		o := &storage.Object{Name: "x"}
		h.push(newLink(int64(i+1), []step{{old: o, new: o}}, now))
		encode(h.links[i])
	}
	first, last := h.links[0], h.links[299]
	made = 0
	encode(first)
	encode(last)
	if made != 1 {
		t.Errorf("%d encodings of an old and a new change, want 1", made)
	}
	h.trim(now.Add(time.Minute))
	encode(last)
	if made != 2 {
		t.Error("the encoding is kept for ever")
	}
}

// counted counts reads of history.
type counted struct {
	kv.Store
	histories atomic.Int64
}

func (c *counted) History(ctx context.Context, prefix string, after, upTo int64, bytes int) ([]kv.Past, error) {
	c.histories.Add(1)
	time.Sleep(10 * time.Millisecond)
	return c.Store.History(ctx, prefix, after, upTo, bytes)
}

// After a restart many clients come back at once, each from its own place.
// They all resume, and etcd's history is read a few times only.
func TestResumeStorm(t *testing.T) {
	m := memory.New()
	before := run(t, m, Options{}).Collection(storagetest.ConfigMaps)
	first := update(t, before, "x", 1)
	last := update(t, before, "x", 3000)
	counted := &counted{Store: m}
	c := run(t, counted, Options{}).Collection(storagetest.ConfigMaps)
	ctx := context.Background()
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			from := first.Revision + int64(i*6)
			w, err := c.Watch(ctx, storage.WatchOptions{Revision: from})
			if err != nil {
				t.Errorf("watch from %d: %v", from, err)
				return
			}
			defer w.Close()
			for at := from; at < last.Revision; {
				events, err := w.Next(ctx)
				if err != nil {
					t.Errorf("watch from %d: %v", from, err)
					return
				}
				for _, e := range events {
					if e.Revision <= at || e.Type != storage.Modified {
						t.Errorf("watch from %d: %v %d after %d", from, e.Type, e.Revision, at)
					}
					at = e.Revision
				}
			}
		})
	}
	wg.Wait()
	if n := counted.histories.Load(); n > 2 {
		t.Errorf("history was read %d times", n)
	}
}

// Updates go on while older history is put in front.
func TestExtendWhileWriting(t *testing.T) {
	m := memory.New()
	before := run(t, m, Options{}).Collection(storagetest.ConfigMaps)
	first := update(t, before, "x", 1)
	update(t, before, "x", 50)
	c := run(t, m, Options{}).Collection(storagetest.ConfigMaps)
	ctx := context.Background()
	var wg sync.WaitGroup
	wg.Go(func() { update(t, c, "y", 300) })
	for i := range 20 {
		wg.Go(func() {
			w, err := c.Watch(ctx, storage.WatchOptions{Revision: first.Revision + int64(i)})
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			x, y := i, 0
			for y < 300 {
				events, err := w.Next(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range events {
					if e.Object.Name == "x" {
						x++
					} else {
						y++
					}
				}
			}
			if x != 50 {
				t.Errorf("%d updates of x, want 50", x)
			}
		})
	}
	wg.Wait()
}
