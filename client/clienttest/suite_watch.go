package clienttest

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	pb "xebec.dev/proto/gen/control/v1"
)

var watchTests = tests{
	"initial objects, a bookmark, changes":           testWatchInitial,
	"a watch resumes after a revision":               testWatchResume,
	"changes come and go by selection":               testWatchSelection,
	"bookmarks come as often as asked":               testWatchBookmarks,
	"an unsubscribed watch is silent":                testWatchUnsubscribe,
	"refusals end a subscription and not the stream": testWatchRefused,
	"large initial lists resume from their end only": testWatchLarge,
	"a revision too old expires":                     testWatchExpired,
	"64 subscriptions of one stream see the same":    testWatchMany,
}

// watcher speaks the wire protocol.
type watcher struct {
	t   testing.TB
	api pb.Objects_WatchClient
}

func newWatcher(t testing.TB, c *client.Client) *watcher {
	t.Helper()
	api, err := c.Objects().Watch(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return &watcher{t, api}
}

var configMaps = &pb.Resource{Version: "v1", Resource: "configmaps"}

func (w *watcher) subscribe(id int64, q *pb.Subscribe) {
	w.t.Helper()
	if err := w.api.Send(&pb.WatchRequest{Id: id, Action: &pb.WatchRequest_Subscribe{Subscribe: q}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watcher) next() *pb.WatchResponse {
	w.t.Helper()
	res, err := w.api.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// events reads until n events have come and gives them as text, and the last
// batch's revision.
func (w *watcher) events(n int) (out []string, revision int64) {
	w.t.Helper()
	for len(out) < n {
		res := w.next()
		if res.Ended != nil {
			w.t.Fatalf("ended: %v", client.FromStatus(res.Ended))
		}
		for _, e := range res.Events {
			obj := &corev1.ConfigMap{}
			if err := obj.Unmarshal(e.Object.Raw); err != nil {
				w.t.Fatal(err)
			}
			if e.Object.Revision <= 0 || obj.ResourceVersion != "" {
				w.t.Errorf("%s at revision %d, resourceVersion %q", obj.Name, e.Object.Revision, obj.ResourceVersion)
			}
			out = append(out, fmt.Sprintf("%s %s %s", e.Type, obj.Name, obj.Data["value"]))
		}
		revision = res.Revision
	}
	return out, revision
}

// initial reads up to the end of the initial objects.
func (w *watcher) initial() (objects int, revision int64) {
	w.t.Helper()
	for {
		res := w.next()
		if res.Ended != nil {
			w.t.Fatalf("ended: %v", client.FromStatus(res.Ended))
		}
		objects += len(res.Events)
		if res.InitialEnd {
			return objects, res.Revision
		}
		if res.Revision != 0 {
			w.t.Errorf("revision %d amid the initial objects: nobody could resume there", res.Revision)
		}
	}
}

func same(t testing.TB, got, want []string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func testWatchInitial(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	a := must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "1")))
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "b", "1")))
	w := newWatcher(t, c)
	w.subscribe(1, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns}})
	n, revision := w.initial()
	if n != 2 || revision < revisionOf(t, a) {
		t.Errorf("%d objects at %d", n, revision)
	}
	a.Data["value"] = "2"
	must[*cm](t)(client.Update(ctx, c, a))
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "c", "1")))
	if err := client.Delete[*cm](ctx, c, ns, "b"); err != nil {
		t.Fatal(err)
	}
	got, end := w.events(3)
	same(t, got, []string{"MODIFIED a 2", "ADDED c 1", "DELETED b 1"})
	if end <= revision {
		t.Errorf("from revision %d to %d", revision, end)
	}
}

func testWatchResume(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	first := must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "1")))
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "b", "1")))
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "c", "1")))
	w := newWatcher(t, c)
	w.subscribe(1, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns}, AfterRevision: revisionOf(t, first)})
	got, revision := w.events(2)
	same(t, got, []string{"ADDED b 1", "ADDED c 1"})
	again := newWatcher(t, c)
	again.subscribe(1, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns}, AfterRevision: revision})
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "d", "1")))
	got, _ = again.events(1)
	same(t, got, []string{"ADDED d 1"})
}

func testWatchSelection(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	w := newWatcher(t, c)
	w.subscribe(1, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns, LabelSelector: "app=yes"}})
	w.initial()
	set := func(value string) { must[*cm](t)(client.Update(ctx, c, configMap(ns, "a", value))) }
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "no")))
	set("yes")
	set("no")
	set("yes")
	if err := client.Delete[*cm](ctx, c, ns, "a"); err != nil {
		t.Fatal(err)
	}
	got, _ := w.events(4)
	same(t, got, []string{"ADDED a yes", "DELETED a yes", "ADDED a yes", "DELETED a yes"})
}

func testWatchBookmarks(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	w := newWatcher(t, c)
	w.subscribe(1, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns}, BookmarkMilliseconds: 50})
	_, last := w.initial()
	began := time.Now()
	for range 5 {
		res := w.next()
		if len(res.Events) != 0 || res.Revision < last {
			t.Errorf("bookmark with %d events at %d after %d", len(res.Events), res.Revision, last)
		}
		last = res.Revision
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("five bookmarks took %s", d)
	}
	// What happens elsewhere shows in the bookmarks, sooner or later.
	elsewhere := revisionOf(t, must[*cm](t)(client.Create(ctx, c, configMap(namespace(t, c), "a", "1"))))
	for last < elsewhere {
		last = w.next().Revision
	}
}

func testWatchUnsubscribe(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	w := newWatcher(t, c)
	for id := int64(1); id <= 2; id++ {
		w.subscribe(id, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns}})
	}
	w.initial()
	w.initial()
	if err := w.api.Send(&pb.WatchRequest{Id: 1, Action: &pb.WatchRequest_Unsubscribe{Unsubscribe: &pb.Unsubscribe{}}}); err != nil {
		t.Fatal(err)
	}
	// The answer to a later request shows that the earlier one was handled.
	w.subscribe(3, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns}})
	w.initial()
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "1")))
	seen := map[int64]bool{}
	for len(seen) < 2 {
		if res := w.next(); len(res.Events) > 0 {
			seen[res.Id] = true
		}
	}
	if seen[1] {
		t.Error("an event after unsubscribing")
	}
}

func testWatchRefused(t *testing.T, e *Env) {
	c := e.Client(t)
	ns := namespace(t, c)
	w := newWatcher(t, c)
	for id, q := range map[int64]*pb.Subscribe{
		1: {Resource: &pb.Resource{Version: "v1", Resource: "nonsenses"}},
		2: {Resource: configMaps, Selection: &pb.Selection{FieldSelector: "data.value=1"}},
		3: {Resource: &pb.Resource{Version: "v1", Resource: "nodes"}, Selection: &pb.Selection{Namespace: "default"}},
	} {
		w.subscribe(id, q)
		res := w.next()
		if res.Id != id || res.Ended == nil {
			t.Fatalf("subscription %d was not refused: %v", id, res)
		}
		err := client.FromStatus(res.Ended)
		if id == 1 && !apierrors.IsNotFound(err) || id > 1 && !apierrors.IsBadRequest(err) {
			t.Errorf("subscription %d: %v", id, err)
		}
	}
	w.subscribe(4, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns}})
	w.initial()
}

func testWatchLarge(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	fill(t, ctx, c, ns, 1500)
	w := newWatcher(t, c)
	w.subscribe(1, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns}})
	if n, _ := w.initial(); n != 1500 {
		t.Errorf("%d initial objects", n)
	}
}

// fill makes n config maps in a batch.
func fill(t testing.TB, ctx context.Context, c *client.Client, ns string, n int) {
	t.Helper()
	b := startBatch(t, c)
	var futures []*client.Future
	for _, name := range names(n) {
		w := must[*client.Write](t)(client.CreateWrite(c, configMap(ns, name, "1"), client.WriteOptions{OmitObject: true}))
		futures = append(futures, must[*client.Future](t)(b.Go(ctx, w)))
	}
	for _, f := range futures {
		if _, err := f.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func testWatchExpired(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	first := must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "1")))
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "b", "1")))
	e.Compact()
	w := newWatcher(t, c)
	w.subscribe(1, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns}, AfterRevision: revisionOf(t, first)})
	res := w.next()
	if res.Ended == nil {
		t.Fatalf("got %v", res)
	}
	if err := client.FromStatus(res.Ended); !apierrors.IsResourceExpired(err) {
		t.Errorf("ended with %v", err)
	}
}

func testWatchMany(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	w := newWatcher(t, c)
	const n = 64
	for id := int64(1); id <= n; id++ {
		w.subscribe(id, &pb.Subscribe{Resource: configMaps, Selection: &pb.Selection{Namespace: ns}})
	}
	for range n {
		w.initial()
	}
	for _, name := range names(50) {
		must[*cm](t)(client.Create(ctx, c, configMap(ns, name, "1")))
	}
	got := map[int64]int{}
	for total := 0; total < n*50; {
		res := w.next()
		got[res.Id] += len(res.Events)
		total += len(res.Events)
	}
	for id := int64(1); id <= n; id++ {
		if got[id] != 50 {
			t.Errorf("subscription %d saw %d events", id, got[id])
		}
	}
}
