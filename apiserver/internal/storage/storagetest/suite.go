package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
)

// Run runs the suite. Each test gets a new, empty store.
func Run(t *testing.T, open func(*testing.T) *Harness) {
	tests := []struct {
		name string
		test func(*run)
	}{
		{"Create", testCreate},
		{"CompareAndSwap", testCompareAndSwap},
		{"Delete", testDelete},
		{"FreshReads", testFreshReads},
		{"FreshAcrossServers", testFreshAcrossServers},
		{"Newest", testNewest},
		{"Order", testOrder},
		{"Selection", testSelection},
		{"Pages", testPages},
		{"PagesExpire", testPagesExpire},
		{"Exact", testExact},
		{"Future", testFuture},
		{"TTL", testTTL},
		{"Initial", testInitial},
		{"Transitions", testTransitions},
		{"JoinLate", testJoinLate},
		{"Reconnect", testReconnect},
		{"CompactedWhileAway", testCompactedWhileAway},
		{"Restart", testRestart},
		{"Corrupt", testCorrupt},
		{"WatchOrdered", testWatchOrdered},
		{"WatchUnique", testWatchUnique},
		{"WatchAtomic", testWatchAtomic},
		{"WatchReliable", testWatchReliable},
		{"WatchResumable", testWatchResumable},
		{"WatchBookmarkable", testWatchBookmarkable},
		{"GroupedResume", testGroupedResume},
		{"GroupedListThenWatch", testGroupedListThenWatch},
		{"GroupedWrites", testGroupedWrites},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			defer cancel()
			test.test(&run{t, open(t), ctx})
		})
	}
}

func testCreate(r *run) {
	c := r.Store.Collection(ConfigMaps)
	raw := ConfigMap("a", "x", "1", map[string]string{"l": "v"})
	o := r.create(c, "a", "x", raw)
	if o.UID != "uid-x" || o.Labels.Get("l") != "v" || o.Revision == 0 || !bytes.Equal(o.Raw, raw) {
		r.Fatalf("created %+v", o)
	}
	got, err := c.Get(r.ctx, "a", "x", storage.Fresh, 0)
	if err != nil || got.Revision != o.Revision || !bytes.Equal(got.Raw, raw) {
		r.Fatalf("get: %+v, %v", got, err)
	}
	_, err = c.Create(r.ctx, "a", "x", ConfigMap("a", "x", "2", nil), 0)
	var exists *storage.Exists
	if !errors.As(err, &exists) || exists.Object.Revision != o.Revision {
		r.Fatalf("second create: %v", err)
	}
	if _, err := c.Get(r.ctx, "a", "y", storage.Fresh, 0); !errors.Is(err, storage.ErrNotFound) {
		r.Fatalf("get of nothing: %v", err)
	}
	if c.Count() != 1 {
		r.Fatalf("count %d", c.Count())
	}
}

func testCompareAndSwap(r *run) {
	c := r.Store.Collection(ConfigMaps)
	o := r.create(c, "a", "x", ConfigMap("a", "x", "1", nil))
	p := r.update(c, o, ConfigMap("a", "x", "2", nil))
	if p.Revision <= o.Revision {
		r.Fatalf("revision %d after %d", p.Revision, o.Revision)
	}
	_, err := c.Update(r.ctx, o, ConfigMap("a", "x", "3", nil), 0)
	var conflict *storage.Conflict
	if !errors.As(err, &conflict) || conflict.Current == nil || conflict.Current.Revision != p.Revision {
		r.Fatalf("stale update: %v", err)
	}
	// Of many who update the same version, one wins.
	var wg sync.WaitGroup
	won := make(chan int64, 64)
	for i := range 64 {
		wg.Go(func() {
			q, err := c.Update(r.ctx, p, ConfigMap("a", "x", fmt.Sprint(i), nil), 0)
			if err == nil {
				won <- q.Revision
			} else if !errors.As(err, new(*storage.Conflict)) {
				r.Errorf("update: %v", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		r.Fatalf("%d updates of one version succeeded", len(won))
	}
	r.remove(c, r.list(c, storage.ListOptions{}).Objects[0])
	_, err = c.Update(r.ctx, p, ConfigMap("a", "x", "3", nil), 0)
	if !errors.As(err, &conflict) || conflict.Current != nil {
		r.Fatalf("update of a deleted object: %v", err)
	}
}

func testDelete(r *run) {
	c := r.Store.Collection(ConfigMaps)
	o := r.create(c, "a", "x", ConfigMap("a", "x", "1", nil))
	p := r.update(c, o, ConfigMap("a", "x", "2", nil))
	_, err := c.Delete(r.ctx, o)
	var conflict *storage.Conflict
	if !errors.As(err, &conflict) || conflict.Current.Revision != p.Revision {
		r.Fatalf("stale delete: %v", err)
	}
	revision := r.remove(c, p)
	if revision <= p.Revision {
		r.Fatalf("deleted at %d after %d", revision, p.Revision)
	}
	if _, err := c.Get(r.ctx, "a", "x", storage.Fresh, 0); !errors.Is(err, storage.ErrNotFound) {
		r.Fatalf("get: %v", err)
	}
	if _, err := c.Delete(r.ctx, p); !errors.As(err, &conflict) || conflict.Current != nil {
		r.Fatalf("second delete: %v", err)
	}
}

// A fresh read sees every write that was acknowledged before it.
func testFreshReads(r *run) {
	c := r.Store.Collection(ConfigMaps)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprintf("x%d", i)
			o := r.create(c, "a", name, ConfigMap("a", name, "0", nil))
			for range 50 {
				o = r.update(c, o, ConfigMap("a", name, "1", nil))
				got, err := c.Get(r.ctx, "a", name, storage.Fresh, 0)
				if err != nil || got.Revision != o.Revision {
					r.Errorf("get after update to %d: %v, %v", o.Revision, got, err)
					return
				}
			}
			l := r.list(c, storage.ListOptions{Selection: storage.Selection{Namespace: "a"}})
			for _, p := range l.Objects {
				if p.Name == name && p.Revision != o.Revision {
					r.Errorf("listed %d after an update to %d", p.Revision, o.Revision)
				}
			}
			if l.Revision < o.Revision {
				r.Errorf("list at %d after an update to %d", l.Revision, o.Revision)
			}
		})
	}
	wg.Wait()
}

func testFreshAcrossServers(r *run) {
	a := r.Store.Collection(ConfigMaps)
	b := r.Again().Collection(ConfigMaps)
	o := r.create(a, "a", "x", ConfigMap("a", "x", "0", nil))
	for range 50 {
		got, err := b.Get(r.ctx, "a", "x", storage.Fresh, 0)
		if err != nil || got.Revision != o.Revision {
			r.Fatalf("the other server has %v, %v; want revision %d", got, err, o.Revision)
		}
		o = r.update(b, got, ConfigMap("a", "x", "1", nil))
		a, b = b, a
	}
}

func testNewest(r *run) {
	c := r.Store.Collection(ConfigMaps)
	o := r.create(c, "a", "x", ConfigMap("a", "x", "0", nil))
	for range 100 {
		if got := c.Newest("a", "x"); got == nil || got.Revision != o.Revision {
			r.Fatalf("newest is %v, want %d", got, o.Revision)
		}
		o = r.update(c, o, ConfigMap("a", "x", "1", nil))
	}
	r.remove(c, o)
	if got := c.Newest("a", "x"); got != nil {
		r.Fatalf("newest is %v after the delete", got)
	}
}

// Objects come in the order of etcd's keys.
func testOrder(r *run) {
	c := r.Store.Collection(ConfigMaps)
	for _, k := range [][2]string{{"a", "b"}, {"a-b", "x"}, {"a", "a.b"}, {"a", "a"}, {"a.c", "y"}, {"ab", "z"}, {"a", "a-b"}} {
		r.create(c, k[0], k[1], ConfigMap(k[0], k[1], "", nil))
	}
	want := []string{"a-b/x", "a.c/y", "a/a", "a/a-b", "a/a.b", "a/b", "ab/z"}
	if got := names(r.list(c, storage.ListOptions{})); !reflect.DeepEqual(got, want) {
		r.Fatalf("listed %v, want %v", got, want)
	}
	want = want[2:6]
	if got := names(r.list(c, storage.ListOptions{Selection: storage.Selection{Namespace: "a"}})); !reflect.DeepEqual(got, want) {
		r.Fatalf("listed %v, want %v", got, want)
	}
}

func testSelection(r *run) {
	c := r.Store.Collection(Pods)
	r.create(c, "a", "p1", Pod("a", "p1", "n1", corev1.PodRunning))
	r.create(c, "b", "p2", Pod("b", "p2", "n1", corev1.PodPending))
	r.create(c, "a", "p3", Pod("a", "p3", "n2", corev1.PodRunning))
	r.create(c, "a", "p4", Pod("a", "p4", "", corev1.PodPending))
	m := r.Store.Collection(ConfigMaps)
	r.create(m, "a", "x", ConfigMap("a", "x", "", map[string]string{"app": "q", "tier": "1"}))
	r.create(m, "a", "y", ConfigMap("a", "y", "", map[string]string{"app": "r"}))
	r.create(m, "a", "z", ConfigMap("a", "z", "", nil))
	for _, test := range []struct {
		c    storage.Collection
		sel  storage.Selection
		want []string
	}{
		{c, storage.Selection{Fields: node("n1")}, []string{"a/p1", "b/p2"}},
		{c, storage.Selection{Namespace: "a", Fields: node("n1")}, []string{"a/p1"}},
		{c, storage.Selection{Fields: node("")}, []string{"a/p4"}},
		{c, storage.Selection{Fields: []storage.FieldRequirement{{Index: FieldNode, Value: "n1", Not: true}}}, []string{"a/p3", "a/p4"}},
		{c, storage.Selection{Fields: append(node("n1"), storage.FieldRequirement{Index: FieldPhase, Value: "Running"})}, []string{"a/p1"}},
		{c, storage.Selection{Fields: []storage.FieldRequirement{{Index: FieldHostNetwork, Value: "false"}}}, []string{"a/p1", "a/p3", "a/p4", "b/p2"}},
		{c, storage.Selection{Namespace: "a", Name: "p3"}, []string{"a/p3"}},
		{c, storage.Selection{Name: "p2"}, []string{"b/p2"}},
		{c, storage.Selection{Namespace: "a", Name: "p2"}, []string{}},
		{c, storage.Selection{Fields: []storage.FieldRequirement{{Index: storage.IndexName, Value: "p1", Not: true}, {Index: storage.IndexNamespace, Value: "a"}}}, []string{"a/p3", "a/p4"}},
		{m, storage.Selection{Labels: selector("app=q")}, []string{"a/x"}},
		{m, storage.Selection{Labels: selector("app in (q,r),!tier")}, []string{"a/y"}},
		{m, storage.Selection{Labels: selector("app!=q")}, []string{"a/y", "a/z"}},
		{m, storage.Selection{Labels: labels.Everything()}, []string{"a/x", "a/y", "a/z"}},
	} {
		l := r.list(test.c, storage.ListOptions{Selection: test.sel})
		if got := names(l); !reflect.DeepEqual(got, test.want) {
			r.Errorf("%+v: listed %v, want %v", test.sel, got, test.want)
		}
		exact := r.list(test.c, storage.ListOptions{Selection: test.sel, Match: storage.Exact, Revision: l.Revision})
		if got := names(exact); !reflect.DeepEqual(got, test.want) {
			r.Errorf("%+v: listed %v at the revision, want %v", test.sel, got, test.want)
		}
	}
}

func node(name string) []storage.FieldRequirement {
	return []storage.FieldRequirement{{Index: FieldNode, Value: name}}
}

func selector(s string) labels.Selector {
	sel, err := labels.Parse(s)
	if err != nil {
		panic(err)
	}
	return sel
}

func testPages(r *run) {
	c := r.Store.Collection(ConfigMaps)
	var want []string
	objects := map[string]*storage.Object{}
	for i := range 25 {
		ns, name := "a", fmt.Sprintf("x%02d", i)
		if i >= 20 {
			ns = "b"
		}
		objects[ns+"/"+name] = r.create(c, ns, name, ConfigMap(ns, name, "", map[string]string{"odd": fmt.Sprint(i % 2)}))
		want = append(want, ns+"/"+name)
	}
	for _, sel := range []storage.Selection{{}, {Namespace: "a"}, {Labels: selector("odd=1")}} {
		all := r.list(c, storage.ListOptions{Selection: sel})
		var got []string
		o := storage.ListOptions{Selection: sel, Limit: 4}
		for page := 0; ; page++ {
			l := r.list(c, o)
			if l.Revision != all.Revision {
				r.Fatalf("page %d at %d, want %d", page, l.Revision, all.Revision)
			}
			got = append(got, names(l)...)
			if l.Continue == "" {
				if l.Remaining != nil {
					r.Fatal("the last page has a remaining count")
				}
				break
			}
			if sel.Labels == nil {
				if l.Remaining == nil || *l.Remaining != int64(len(all.Objects)-len(got)) {
					r.Fatalf("page %d: remaining %v", page, l.Remaining)
				}
			} else if l.Remaining != nil {
				r.Fatal("a remaining count in spite of a selector")
			}
			o.Continue = l.Continue
			// What changes in between is not seen.
			key := all.Objects[len(all.Objects)-1]
			if page == 1 {
				id := key.Namespace + "/" + key.Name
				r.update(c, objects[id], ConfigMap(key.Namespace, key.Name, "changed", nil))
				objects[id] = c.Newest(key.Namespace, key.Name)
			}
		}
		if !reflect.DeepEqual(got, names(all)) {
			r.Fatalf("pages gave %v, want %v", got, names(all))
		}
		// Restore the labels for the next selection.
		for id, o := range objects {
			if len(o.Labels) == 0 {
				odd := fmt.Sprint((int(o.Name[2]-'0') % 2))
				objects[id] = r.update(c, o, ConfigMap(o.Namespace, o.Name, "", map[string]string{"odd": odd}))
			}
		}
	}
	if l := r.list(c, storage.ListOptions{Match: storage.Any, Limit: 3}); len(l.Objects) != len(want) {
		r.Fatalf("limit counts at resourceVersion 0: %d objects", len(l.Objects))
	}
	for _, bad := range []string{"abc", "***", "e30"} {
		if _, err := c.List(r.ctx, storage.ListOptions{Continue: bad}); !errors.Is(err, storage.ErrInvalidContinue) {
			r.Errorf("token %q: %v", bad, err)
		}
	}
}

func testPagesExpire(r *run) {
	c := r.Store.Collection(ConfigMaps)
	for i := range 6 {
		name := fmt.Sprintf("x%d", i)
		r.create(c, "a", name, ConfigMap("a", name, "", nil))
	}
	first := r.list(c, storage.ListOptions{Selection: storage.Selection{Namespace: "a"}, Limit: 2})
	last := r.create(c, "a", "x9", ConfigMap("a", "x9", "", nil))
	r.Compact(last.Revision)
	// A server that does not hold the old state itself.
	other := r.Again().Collection(ConfigMaps)
	_, err := other.List(r.ctx, storage.ListOptions{Selection: storage.Selection{Namespace: "a"}, Limit: 2, Continue: first.Continue})
	var expired *storage.ExpiredContinue
	if !errors.As(err, &expired) || !errors.Is(err, storage.ErrExpired) {
		r.Fatalf("page of a compacted list: %v", err)
	}
	l, err := other.List(r.ctx, storage.ListOptions{Selection: storage.Selection{Namespace: "a"}, Continue: expired.Continue})
	if want := []string{"a/x2", "a/x3", "a/x4", "a/x5", "a/x9"}; err != nil || !reflect.DeepEqual(names(l), want) {
		r.Fatalf("went on with %v, %v; want %v", l, err, want)
	}
	if _, err := other.List(r.ctx, storage.ListOptions{Match: storage.Exact, Revision: first.Revision}); !errors.Is(err, storage.ErrExpired) {
		r.Fatalf("list at a compacted revision: %v", err)
	}
}

func testExact(r *run) {
	c := r.Store.Collection(ConfigMaps)
	type state struct {
		revision int64
		want     []string
	}
	var states []state
	snap := func() {
		l := r.list(c, storage.ListOptions{})
		var want []string
		for _, o := range l.Objects {
			want = append(want, fmt.Sprintf("%s@%d", o.Name, o.Revision))
		}
		states = append(states, state{l.Revision, want})
	}
	objects := map[string]*storage.Object{}
	for i := range 40 {
		name := fmt.Sprintf("x%d", i%7)
		switch o := objects[name]; {
		case o == nil:
			objects[name] = r.create(c, "a", name, ConfigMap("a", name, "", nil))
		case i%3 == 0:
			r.remove(c, o)
			delete(objects, name)
		default:
			objects[name] = r.update(c, o, ConfigMap("a", name, fmt.Sprint(i), nil))
		}
		snap()
	}
	for _, c := range []storage.Collection{c, r.Again().Collection(ConfigMaps)} {
		for i := len(states) - 1; i >= 0; i-- {
			s := states[i]
			var got []string
			l := r.list(c, storage.ListOptions{Match: storage.Exact, Revision: s.revision})
			for _, o := range l.Objects {
				got = append(got, fmt.Sprintf("%s@%d", o.Name, o.Revision))
			}
			if l.Revision != s.revision || !reflect.DeepEqual(got, s.want) {
				r.Fatalf("at %d: %v at %d, want %v", s.revision, got, l.Revision, s.want)
			}
		}
	}
}

func testFuture(r *run) {
	c := r.Store.Collection(ConfigMaps)
	o := r.create(c, "a", "x", ConfigMap("a", "x", "", nil))
	var large *storage.TooLargeRevision
	for _, m := range []storage.Match{storage.NotOlderThan, storage.Exact} {
		if _, err := c.List(r.ctx, storage.ListOptions{Match: m, Revision: o.Revision + 1000}); !errors.As(err, &large) {
			r.Errorf("list at a future revision: %v", err)
		}
	}
	if _, err := c.Get(r.ctx, "a", "x", storage.NotOlderThan, o.Revision+1000); !errors.As(err, &large) {
		r.Errorf("get at a future revision: %v", err)
	}
	// A watch just waits; what comes before is not delivered.
	from := o.Revision + 3
	w := r.watch(c, storage.WatchOptions{Revision: from})
	for o.Revision <= from {
		o = r.update(c, o, ConfigMap("a", "x", "1", nil))
	}
	w.expect(fmt.Sprintf("MODIFIED a/x@%d", o.Revision))
	w.quiet()
}

func testTTL(r *run) {
	c := r.Store.Collection(ConfigMaps)
	o, err := c.Create(r.ctx, "a", "x", ConfigMap("a", "x", "", nil), time.Second)
	if err != nil {
		r.Fatal(err)
	}
	w := r.watch(c, storage.WatchOptions{Revision: o.Revision})
	if e := w.next(); e.Type != storage.Deleted || e.Object.Revision != o.Revision || e.Revision <= o.Revision {
		r.Fatalf("got %s", show(e))
	}
}

func testInitial(r *run) {
	c := r.Store.Collection(ConfigMaps)
	a := r.create(c, "a", "x", ConfigMap("a", "x", "", nil))
	b := r.create(c, "b", "y", ConfigMap("b", "y", "", nil))
	w := r.watch(c, storage.WatchOptions{InitialEvents: true, Bookmarks: true})
	w.expect(fmt.Sprintf("ADDED a/x@%d", a.Revision), fmt.Sprintf("ADDED b/y@%d", b.Revision))
	if e := w.next(); !e.InitialEventsEnd || e.Revision < b.Revision {
		r.Fatalf("got %s", show(e))
	}
	plain := r.watch(c, storage.WatchOptions{Selection: storage.Selection{Namespace: "b"}})
	plain.expect(fmt.Sprintf("ADDED b/y@%d", b.Revision))
	plain.quiet()
	b = r.update(c, b, ConfigMap("b", "y", "1", nil))
	w.expect(fmt.Sprintf("MODIFIED b/y@%d", b.Revision))
	plain.expect(fmt.Sprintf("MODIFIED b/y@%d", b.Revision))
	empty := r.watch(r.Store.Collection(Nodes), storage.WatchOptions{InitialEvents: true})
	empty.expect("BOOKMARK end")
}

// Entering a selection is Added, leaving it is Deleted, with the old object
// and the new revision.
func testTransitions(r *run) {
	c := r.Store.Collection(Pods)
	o := r.create(c, "a", "p", Pod("a", "p", "", corev1.PodPending))
	start := o.Revision
	n1 := r.watch(c, storage.WatchOptions{Selection: storage.Selection{Fields: node("n1")}, Revision: start})
	none := r.watch(c, storage.WatchOptions{Selection: storage.Selection{Fields: node("")}, Revision: start})
	pending := r.watch(c, storage.WatchOptions{Selection: storage.Selection{Fields: []storage.FieldRequirement{{Index: FieldPhase, Value: "Pending"}}}, Revision: start})
	one := r.watch(c, storage.WatchOptions{Selection: storage.Selection{Namespace: "a", Name: "p"}, Revision: start})
	other := r.watch(c, storage.WatchOptions{Selection: storage.Selection{Namespace: "b"}, Revision: start})
	bound := r.update(c, o, Pod("a", "p", "n1", corev1.PodPending))
	running := r.update(c, bound, Pod("a", "p", "n1", corev1.PodRunning))
	gone := r.remove(c, running)
	check := func() {
		n1.expect(fmt.Sprintf("ADDED a/p@%d", bound.Revision), fmt.Sprintf("MODIFIED a/p@%d", running.Revision), fmt.Sprintf("DELETED a/p@%d", gone))
		e := none.next()
		if e.Type != storage.Deleted || e.Revision != bound.Revision || e.Object.Revision != o.Revision {
			r.Fatalf("got %s", show(e))
		}
		pending.expect(fmt.Sprintf("MODIFIED a/p@%d", bound.Revision), fmt.Sprintf("DELETED a/p@%d", running.Revision))
		one.expect(fmt.Sprintf("MODIFIED a/p@%d", bound.Revision), fmt.Sprintf("MODIFIED a/p@%d", running.Revision), fmt.Sprintf("DELETED a/p@%d", gone))
		for _, w := range []*watching{n1, none, pending, one, other} {
			w.quiet()
		}
	}
	check()
	// The same from the history.
	n1 = r.watch(c, storage.WatchOptions{Selection: storage.Selection{Fields: node("n1")}, Revision: start})
	none = r.watch(c, storage.WatchOptions{Selection: storage.Selection{Fields: node("")}, Revision: start})
	pending = r.watch(c, storage.WatchOptions{Selection: storage.Selection{Fields: []storage.FieldRequirement{{Index: FieldPhase, Value: "Pending"}}}, Revision: start})
	one = r.watch(c, storage.WatchOptions{Selection: storage.Selection{Namespace: "a", Name: "p"}, Revision: start})
	check()
}

// A custom resource appears while the store runs.
func testJoinLate(r *run) {
	widget := func(color string) []byte {
		return []byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"a","uid":"u","labels":{"l":"\u0076"}},"spec":{"color":"` + color + `"}}`)
	}
	c := r.Again().Collection(Widgets)
	o := r.create(c, "a", "w", widget("red"))
	if o.UID != "u" || o.Labels.Get("l") != "v" || o.Fields[0] != "red" {
		r.Fatalf("created %+v", o)
	}
	late := r.Store.Collection(Widgets)
	if late != r.Store.Collection(Widgets) {
		r.Fatal("another collection at the second call")
	}
	l := r.list(late, storage.ListOptions{})
	if len(l.Objects) != 1 || !bytes.Equal(l.Objects[0].Raw, widget("red")) {
		r.Fatalf("listed %v", names(l))
	}
	w := r.watch(late, storage.WatchOptions{Selection: storage.Selection{Fields: []storage.FieldRequirement{{Value: "red"}}}, Revision: l.Revision})
	o = r.update(c, o, widget("blue"))
	w.expect(fmt.Sprintf("DELETED a/w@%d", o.Revision))
}

// A broken feed is resumed without a gap and without anybody noticing.
func testReconnect(r *run) {
	c := r.Store.Collection(ConfigMaps)
	o := r.create(c, "a", "x", ConfigMap("a", "x", "", nil))
	w := r.watch(c, storage.WatchOptions{Revision: o.Revision})
	for range 5 {
		r.Break()
		o = r.update(c, o, ConfigMap("a", "x", "1", nil))
		w.expect(fmt.Sprintf("MODIFIED a/x@%d", o.Revision))
	}
}

// If the history is gone when the feed resumes, everything is loaded anew and
// watchers are told.
func testCompactedWhileAway(r *run) {
	c := r.Store.Collection(ConfigMaps)
	o := r.create(c, "a", "x", ConfigMap("a", "x", "", nil))
	w := r.watch(c, storage.WatchOptions{Revision: o.Revision})
	other := r.Again().Collection(ConfigMaps)
	r.Break()
	for range 20 {
		o = r.update(other, o, ConfigMap("a", "x", "1", nil))
	}
	r.Compact(o.Revision)
	// It depends on who was quicker whether there was a gap.
	for {
		events, err := w.w.Next(r.ctx)
		if errors.Is(err, storage.ErrExpired) {
			break
		}
		if err != nil {
			r.Fatalf("next: %v", err)
		}
		if events[len(events)-1].Revision == o.Revision {
			break
		}
	}
	got, err := c.Get(r.ctx, "a", "x", storage.Fresh, 0)
	if err != nil || got.Revision != o.Revision {
		r.Fatalf("get: %v, %v", got, err)
	}
	l := r.list(c, storage.ListOptions{})
	v := r.watch(c, storage.WatchOptions{Revision: l.Revision})
	o = r.update(c, o, ConfigMap("a", "x", "2", nil))
	v.expect(fmt.Sprintf("MODIFIED a/x@%d", o.Revision))
}

// A client resumes at a server that has just started.
func testRestart(r *run) {
	c := r.Store.Collection(ConfigMaps)
	o := r.create(c, "a", "x", ConfigMap("a", "x", "", nil))
	start := o.Revision
	var want []string
	for i := range 20 {
		o = r.update(c, o, ConfigMap("a", "x", fmt.Sprint(i), nil))
		want = append(want, fmt.Sprintf("MODIFIED a/x@%d", o.Revision))
	}
	again := (&run{r.T, &Harness{Store: r.Again()}, r.ctx}).Store.Collection(ConfigMaps)
	w := r.watch(again, storage.WatchOptions{Revision: start})
	w.expect(want...)
	w.quiet()
}

// A value that cannot be read spoils its own resource only, by name.
func testCorrupt(r *run) {
	c := r.Store.Collection(ConfigMaps)
	r.create(c, "a", "x", ConfigMap("a", "x", "", nil))
	r.create(r.Store.Collection(Nodes), "", "n", marshal(&corev1.Node{ObjectMeta: meta("", "n", nil)}))
	revision, _, err := r.KV.Apply(r.ctx, []kv.Write{{Key: "configmaps/a/bad", Value: []byte("k8s\x00\xff\xff"), Compare: kv.Anything}})
	if err != nil {
		r.Fatal(err)
	}
	again := r.Again()
	for i, s := range []storage.Store{r.Store, again} {
		c := s.Collection(ConfigMaps)
		var corrupt *storage.Corrupt
		if _, err := c.Get(r.ctx, "a", "bad", storage.NotOlderThan, revision); !errors.As(err, &corrupt) || corrupt.Key != "configmaps/a/bad" {
			r.Errorf("%d: get: %v", i, err)
		}
		if _, err := c.List(r.ctx, storage.ListOptions{}); !errors.As(err, &corrupt) {
			r.Errorf("%d: list: %v", i, err)
		}
		if _, err := c.List(r.ctx, storage.ListOptions{Selection: storage.Selection{Namespace: "b"}}); err != nil {
			r.Errorf("%d: list of another namespace: %v", i, err)
		}
		if _, err := c.Get(r.ctx, "a", "x", storage.Fresh, 0); err != nil {
			r.Errorf("%d: get of another object: %v", i, err)
		}
		if l, err := s.Collection(Nodes).List(r.ctx, storage.ListOptions{}); err != nil || len(l.Objects) != 1 {
			r.Errorf("%d: list of another resource: %v", i, err)
		}
	}
	r.remove(c, &storage.Object{Namespace: "a", Name: "bad", Revision: revision})
	if l := r.list(c, storage.ListOptions{}); len(l.Objects) != 1 {
		r.Errorf("listed %v after the repair", names(l))
	}
}
