package storagetest

import (
	"context"
	"fmt"
	"math/rand"
	"sync"
	"time"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
)

// traffic writes at random from several clients, in one namespace, and
// returns once all are done.
func traffic(r *run, clients, writes int) {
	c := r.Store.Collection(ConfigMaps)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewSource(int64(i)))
			objects := map[string]*storage.Object{}
			for range writes {
				name := fmt.Sprintf("x%d-%d", i, rnd.Intn(4))
				raw := ConfigMap("a", name, fmt.Sprint(rnd.Int()), map[string]string{"l": fmt.Sprint(rnd.Intn(2))})
				switch o := objects[name]; {
				case o == nil:
					objects[name] = r.create(c, "a", name, raw)
				case rnd.Intn(5) == 0:
					r.remove(c, o)
					delete(objects, name)
				default:
					objects[name] = r.update(c, o, raw)
				}
			}
		})
	}
	wg.Wait()
}

// collect watches from a revision until it has seen everything up to the end
// revision, which is known once stop is closed.
func collect(r *run, o storage.WatchOptions, stop <-chan struct{}, end *int64) [][]storage.Event {
	w, err := r.Store.Collection(ConfigMaps).Watch(r.ctx, o)
	if err != nil {
		r.Errorf("watch: %v", err)
		return nil
	}
	defer w.Close()
	var batches [][]storage.Event
	for {
		ctx, cancel := context.WithTimeout(r.ctx, 20*time.Millisecond)
		events, err := w.Next(ctx)
		cancel()
		if err == nil {
			batches = append(batches, append([]storage.Event(nil), events...))
			continue
		}
		if ctx.Err() == nil || r.ctx.Err() != nil {
			r.Errorf("next: %v", err)
			return nil
		}
		select {
		case <-stop:
			if w.Revision() >= *end {
				return batches
			}
		default:
		}
	}
}

// history runs traffic while n watchers look on, and returns what each saw,
// in batches, and the state at the start and at the end.
func history(r *run, n int, sel storage.Selection) (seen [][][]storage.Event, before, after *storage.List) {
	c := r.Store.Collection(ConfigMaps)
	traffic(r, 4, 20)
	before = r.list(c, storage.ListOptions{Selection: sel})
	stop := make(chan struct{})
	var end int64
	seen = make([][][]storage.Event, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			seen[i] = collect(r, storage.WatchOptions{Selection: sel, Revision: before.Revision}, stop, &end)
		})
	}
	clearAll(r) // so that the traffic begins with creates again
	traffic(r, 16, 60)
	after = r.list(c, storage.ListOptions{Selection: sel})
	end = after.Revision
	close(stop)
	wg.Wait()
	return seen, before, after
}

func clearAll(r *run) {
	c := r.Store.Collection(ConfigMaps)
	for _, o := range r.list(c, storage.ListOptions{}).Objects {
		r.remove(c, o)
	}
}

func flat(batches [][]storage.Event) (events []storage.Event) {
	for _, b := range batches {
		events = append(events, b...)
	}
	return events
}

// Ordered: revisions never go back, of one watcher and of one object.
func testWatchOrdered(r *run) {
	seen, before, _ := history(r, 3, storage.Selection{})
	for _, batches := range seen {
		last := before.Revision
		for _, e := range flat(batches) {
			if e.Revision < last {
				r.Fatalf("revision %d after %d", e.Revision, last)
			}
			last = e.Revision
		}
	}
}

// Unique: no event comes twice, none that the list already had.
func testWatchUnique(r *run) {
	seen, before, _ := history(r, 3, storage.Selection{})
	for _, batches := range seen {
		had := map[string]bool{}
		for _, e := range flat(batches) {
			if e.Revision <= before.Revision {
				r.Fatalf("%s is in the list at %d", show(e), before.Revision)
			}
			id := fmt.Sprintf("%s@%d", e.Object.Name, e.Revision)
			if had[id] {
				r.Fatalf("%s came twice", show(e))
			}
			had[id] = true
		}
	}
}

// Atomic: the events of a revision come in one batch.
func testWatchAtomic(r *run) {
	seen, _, _ := history(r, 3, storage.Selection{})
	for _, batches := range seen {
		var last int64
		for _, b := range batches {
			if b[0].Revision == last {
				r.Fatalf("revision %d is split over batches", last)
			}
			last = b[len(b)-1].Revision
		}
	}
}

// Reliable: the list before and the events make the list after, and every
// step fits: nothing is added twice, nothing modified that is not there.
func testWatchReliable(r *run) {
	for _, sel := range []storage.Selection{{}, {Namespace: "a", Labels: selector("l=1")}, {Namespace: "a", Name: "x3-1"}} {
		seen, before, after := history(r, 3, sel)
		for _, batches := range seen {
			state := map[string]int64{}
			for _, o := range before.Objects {
				state[o.Name] = o.Revision
			}
			for _, e := range flat(batches) {
				if e.Revision > after.Revision {
					break
				}
				_, there := state[e.Object.Name]
				if there == (e.Type == storage.Added) {
					r.Fatalf("%s, but it was there: %v", show(e), there)
				}
				if e.Type == storage.Deleted {
					delete(state, e.Object.Name)
				} else {
					state[e.Object.Name] = e.Revision
				}
			}
			if len(state) != len(after.Objects) {
				r.Fatalf("%d objects after all events, want %d", len(state), len(after.Objects))
			}
			for _, o := range after.Objects {
				if state[o.Name] != o.Revision {
					r.Fatalf("%s at %d after all events, want %d", o.Name, state[o.Name], o.Revision)
				}
			}
		}
		clearAll(r)
	}
}

// Resumable: from any revision that was seen a watch delivers exactly what
// came after it; or it says that it cannot.
func testWatchResumable(r *run) {
	seen, before, after := history(r, 1, storage.Selection{})
	all := flat(seen[0])
	stop := make(chan struct{})
	close(stop)
	for i := 0; i < len(all); i += 1 + len(all)/40 {
		from := all[i].Revision
		events := flat(collect(r, storage.WatchOptions{Revision: from, Complete: true}, stop, &after.Revision))
		first := i
		for first < len(all) && all[first].Revision <= from {
			first++
		}
		same(r, events, all[first:])
	}
	events := flat(collect(r, storage.WatchOptions{Revision: before.Revision}, stop, &after.Revision))
	same(r, events, all)
}

func same(r *run, got, want []storage.Event) {
	r.Helper()
	for i := range min(len(got), len(want)) {
		if show(got[i]) != show(want[i]) {
			r.Fatalf("event %d is %s, want %s", i, show(got[i]), show(want[i]))
		}
	}
	if len(got) != len(want) {
		r.Fatalf("%d events, want %d", len(got), len(want))
	}
}

// Bookmarkable: after a bookmark nothing comes that is not later.
func testWatchBookmarkable(r *run) {
	c := r.Store.Collection(ConfigMaps)
	traffic(r, 4, 10)
	o := storage.WatchOptions{InitialEvents: true, Bookmarks: true}
	w, err := c.Watch(r.ctx, o)
	if err != nil {
		r.Fatal(err)
	}
	defer w.Close()
	go traffic2(r)
	// The last bookmark comes two seconds before the end of the watch.
	ctx, cancel := context.WithTimeout(r.ctx, 2500*time.Millisecond)
	defer cancel()
	bookmarks, bookmark := 0, int64(0)
	for {
		events, err := w.Next(ctx)
		if err != nil {
			break
		}
		for _, e := range events {
			if bookmark > 0 && e.Revision <= bookmark && e.Type != storage.Bookmark {
				r.Fatalf("%s after a bookmark at %d", show(e), bookmark)
			}
			if e.Type == storage.Bookmark {
				bookmarks++
				bookmark = e.Revision
			}
		}
	}
	if bookmarks != 2 {
		r.Fatalf("%d bookmarks, want one after the initial events and one before the end", bookmarks)
	}
	if w.Revision() < bookmark {
		r.Fatalf("complete to %d after a bookmark at %d", w.Revision(), bookmark)
	}
}

func traffic2(r *run) {
	c := r.Store.Collection(ConfigMaps)
	for i := range 100 {
		name := fmt.Sprintf("y%d", i)
		if _, err := c.Create(r.ctx, "b", name, ConfigMap("b", name, "", nil), 0); err != nil {
			return
		}
	}
}

// group writes several objects in one revision, as grouped writes do.
func group(r *run, ns string, names ...string) int64 {
	r.Helper()
	c := r.Store.Collection(ConfigMaps)
	var writes []kv.Write
	for _, name := range names {
		// A value as it is stored: made by the store, then moved.
		o := r.create(c, "template", name, ConfigMap(ns, name, "", nil))
		e, _, err := r.KV.Get(r.ctx, "configmaps/template/"+name, 0)
		if err != nil {
			r.Fatal(err)
		}
		r.remove(c, o)
		writes = append(writes, kv.Write{Key: "configmaps/" + ns + "/" + name, Value: e.Value, Compare: kv.Anything})
	}
	revision, _, err := r.KV.Apply(r.ctx, writes)
	if err != nil {
		r.Fatal(err)
	}
	return revision
}

// A client that saw half of a revision and resumes there gets the rest.
func testGroupedResume(r *run) {
	c := r.Store.Collection(ConfigMaps)
	first := r.create(c, "a", "x", ConfigMap("a", "x", "", nil))
	revision := group(r, "a", "y", "z")
	both := []string{fmt.Sprintf("ADDED a/y@%d", revision), fmt.Sprintf("ADDED a/z@%d", revision)}
	sel := storage.Selection{Namespace: "a"}
	from := first.Revision
	whole := r.watch(c, storage.WatchOptions{Selection: sel, Revision: from})
	whole.expect(both...)
	again := r.watch(c, storage.WatchOptions{Selection: sel, Revision: revision})
	again.expect(both...)
	again.quiet()
	// Who sees one of them only, has seen it all.
	one := r.watch(c, storage.WatchOptions{Selection: storage.Selection{Namespace: "a", Name: "y"}, Revision: revision})
	one.quiet()
	// Who was told whole revisions, too.
	complete := r.watch(c, storage.WatchOptions{Selection: sel, Revision: revision, Complete: true})
	complete.quiet()
	other := r.watch(r.Again().Collection(ConfigMaps), storage.WatchOptions{Selection: sel, Revision: revision})
	other.expect(both...)
}

// A list never carries a revision that several of its objects share, so that
// the watch after it repeats nothing.
func testGroupedListThenWatch(r *run) {
	c := r.Store.Collection(ConfigMaps)
	revision := group(r, "a", "x", "y")
	l := r.list(c, storage.ListOptions{})
	if l.Revision <= revision || len(l.Objects) != 2 {
		r.Fatalf("list of %d objects at %d, grouped at %d", len(l.Objects), l.Revision, revision)
	}
	w := r.watch(c, storage.WatchOptions{Revision: l.Revision})
	w.quiet()
	revision = group(r, "a", "z", "zz")
	i := r.watch(c, storage.WatchOptions{InitialEvents: true})
	for {
		if e := i.next(); e.InitialEventsEnd {
			if e.Revision <= revision {
				r.Fatalf("initial events end at %d, grouped at %d", e.Revision, revision)
			}
			break
		}
	}
	i.quiet()
	revision = group(r, "b", "x", "y")
	p := r.list(c, storage.ListOptions{Limit: 2})
	if p.Revision <= revision {
		r.Fatalf("page at %d, grouped at %d", p.Revision, revision)
	}
	// Nobody sees both through this selection: no need for another revision.
	revision = group(r, "c", "x", "y")
	if l := r.list(c, storage.ListOptions{Selection: storage.Selection{Namespace: "c", Name: "x"}}); l.Revision < revision {
		r.Fatalf("list at %d, written at %d", l.Revision, revision)
	}
}

// Writes that share a revision each get their own answer.
func testGroupedWrites(r *run) {
	c := r.Store.Collection(ConfigMaps)
	var objects []*storage.Object
	for i := range 40 {
		name := fmt.Sprintf("x%02d", i)
		objects = append(objects, r.create(c, "a", name, ConfigMap("a", name, "", nil)))
	}
	stale := objects[0]
	objects[0] = r.update(c, stale, ConfigMap("a", "x00", "1", nil))
	shared := map[int64]int{}
	for range 20 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i := range objects {
			wg.Go(func() {
				name := objects[i].Name
				objects[i] = r.update(c, objects[i], ConfigMap("a", name, "2", nil))
				mu.Lock()
				defer mu.Unlock()
				shared[objects[i].Revision]++
			})
			wg.Go(func() {
				if _, err := c.Update(r.ctx, stale, ConfigMap("a", "x00", "3", nil), 0); err == nil {
					r.Errorf("a stale update succeeded")
				}
			})
		}
		wg.Wait()
	}
	for _, o := range r.list(c, storage.ListOptions{}).Objects {
		var i int
		fmt.Sscanf(o.Name, "x%d", &i)
		if o.Revision != objects[i].Revision {
			r.Fatalf("%s at %d, want %d", o.Name, o.Revision, objects[i].Revision)
		}
	}
	groups := 0
	for _, n := range shared {
		if n > 1 {
			groups++
		}
	}
	r.Logf("%d of %d revisions have several writes", groups, len(shared))
}
