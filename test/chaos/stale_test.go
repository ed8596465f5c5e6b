package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/test/chaos/etcdproxy"
	"xebec.dev/test/chaos/history"
)

// TestFrozenFeed is F08: of two servers one no longer hears from etcd. A
// client that changes to that one waits, is refused or is told the truth, it
// is never sent back in time; when the feed goes on, so does the server.
func TestFrozenFeed(t *testing.T) {
	const keys = 12
	e := startEtcd(t)
	p := etcdproxy.Start(t, e.host)
	frozen, healthy := over(t, p.URL), over(t, "http://"+e.host)
	prepare(t, healthy)
	prepare(t, frozen)
	rec := history.NewRecorder()
	for _, doors := range [][2]door{
		{restDoor(t, frozen), restDoor(t, healthy)},
		{rpcDoor(t, frozen), rpcDoor(t, healthy)},
	} {
		a, b := doors[0], doors[1]
		w := newWriter(rec, 1, keys)
		if took := switchBack(t, w, a, b, 50); took > time.Second {
			t.Errorf("a healthy server's fresh reads took up to %v", took)
		}
		p.FreezeWatches(true)
		// One write that a has not heard of makes all its answers stale.
		newest := writeSome(t, w, b)
		var asking sync.WaitGroup
		for range 4 {
			asking.Go(func() {
				// Fresh reads, by the client that saw b's answer. They may
				// come from etcd itself; the history says whether they are old.
				r := *w
				for _, o := range []history.Op{{Verb: history.List}, {Verb: history.Get, Key: newest.Key}} {
					o = r.op(t.Context(), a, o)
					if o.Outcome == history.Done && o.Revision < newest.Revision {
						t.Errorf("an old answer: %v after %v", o, newest)
					}
					if took := o.Return - o.Call; took > 10*time.Second {
						t.Errorf("answered after %v: %v", took, o)
					}
				}
			})
		}
		asking.Wait()
		writeSome(t, w, b)
		p.FreezeWatches(false)
		took := eventually(t, 20*time.Second, "the server goes on", func() bool {
			return w.op(t.Context(), a, history.Op{Verb: history.List}).Outcome == history.Done
		})
		t.Logf("went on %v after the feed", took)
		switchBack(t, w, a, b, 20)
	}
	f := followed(t, &follower{name: "after the thaw", door: restDoor(t, frozen)}, finishAfter(t, rec, restDoor(t, healthy)))
	if len(f.segments) != 1 {
		t.Errorf("%d streams, want one", len(f.segments))
	}
	settle(t, rec, restDoor(t, frozen), keys)
}

// finishAfter writes the last object and gives the revision before it.
func finishAfter(t *testing.T, rec *history.Recorder, d door) int64 {
	t.Helper()
	before := list(t, rec, d).Revision
	finish(t, rec, d)
	return before
}

// writeSome writes until something was.
func writeSome(t *testing.T, w *writer, d door) history.Op {
	t.Helper()
	for range 100 {
		if o := w.step(t.Context(), d); o.Verb <= history.Update && o.Outcome == history.Done {
			return o
		}
	}
	t.Fatal("nothing could be written")
	return history.Op{}
}

// switchBack writes at one server and reads at the other, and gives the
// longest of the reads.
func switchBack(t *testing.T, w *writer, a, b door, n int) (longest time.Duration) {
	t.Helper()
	for range n {
		o := writeSome(t, w, b)
		for _, read := range []history.Op{{Verb: history.Get, Key: o.Key}, {Verb: history.List}} {
			got := w.op(t.Context(), a, read)
			if got.Outcome != history.Done {
				t.Errorf("a healthy server: %v", got)
			}
			longest = max(longest, got.Return-got.Call)
		}
	}
	return longest
}

// TestCompaction is F09: etcd's history is compacted every two seconds to
// the newest revision, while clients watch, resume and read in pages. They
// get everything, or 410 and can start again.
func TestCompaction(t *testing.T) {
	const keys = 30
	e := startEtcd(t)
	s := over(t, "http://"+e.host, "--etcd-compaction-interval=0")
	prepare(t, s)
	rec := history.NewRecorder()
	r, g := restDoor(t, s), rpcDoor(t, s)
	begin := list(t, rec, r)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(rounds(3))*5*time.Second)
	defer cancel()
	followers := []*follower{
		{name: "gRPC", door: g}, {name: "REST", door: r},
		{name: "REST, cut", door: r, cut: cutEvery(40)}, {name: "gRPC, cut", door: g, cut: cutEvery(20)},
	}
	var watching sync.WaitGroup
	for _, f := range followers {
		watching.Go(func() { f.run(ctx, begin.Revision) })
	}
	stop := make(chan struct{})
	wait := traffic(ctx, rec, seeded(t), 12, keys, []door{r, g}, stop)
	var paging sync.WaitGroup
	pages := &pager{rest: restDoor(t, s)}
	paging.Go(func() { pages.run(t, rec, stop) })
	for range rounds(3) {
		time.Sleep(1500 * time.Millisecond)
		e.compact(t)
	}
	close(stop)
	wait()
	paging.Wait()
	finish(t, rec, r)
	watching.Wait()
	truth := followers[0].merged()
	truth.Start = begin.Items
	for _, f := range followers {
		if err := f.check(truth.Events); err != nil {
			t.Error(err)
		}
	}
	for _, err := range []error{history.Witnessed(truth, rec.Ops()), history.Replayed(truth, rec.Ops()), history.Fitting(truth)} {
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d lists in pages, %d of them expired on the way", pages.whole, pages.expired)
	if pages.whole == 0 {
		t.Error("no list in pages came to its end")
	}
	settle(t, rec, r, keys)
	afterCompaction(t, e, pages.rest, begin.Revision, func() { s.Kill(); s.Run(t) })
}

// pager lists in small pages, with a rest between them.
type pager struct {
	rest           *rest
	whole, expired int
}

type page struct {
	corev1.ConfigMapList
	Message, Reason string
	Code            int
}

func (p *pager) page(ctx context.Context, query string) (page, error) {
	resp, err := p.rest.request(ctx, http.MethodGet, "?"+query, nil)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	var out page
	err = json.NewDecoder(resp.Body).Decode(&out)
	return out, err
}

func (p *pager) run(t *testing.T, rec *history.Recorder, stop <-chan struct{}) {
	client := newWriter(rec, 1, 1)
	for {
		select {
		case <-stop:
			return
		default:
		}
		rec.Do(history.Op{Client: client.id, Verb: history.List}, func(o *history.Op) {
			if err := p.list(t, o); err != nil {
				t.Error(err)
			}
		})
	}
}

// list reads all pages, which must be of one revision.
func (p *pager) list(t *testing.T, o *history.Op) error {
	token := ""
	for {
		got, err := p.page(t.Context(), "limit=4&continue="+token)
		switch {
		case err != nil:
			return err
		case got.Code == http.StatusGone:
			p.expired++
			o.Outcome, o.Items = history.Expired, nil
			return p.again(t, got)
		case got.Code != 0:
			return fmt.Errorf("page: %d %s %s", got.Code, got.Reason, got.Message)
		case o.Revision != 0 && got.ResourceVersion != strconv.FormatInt(o.Revision, 10):
			return fmt.Errorf("a page at %s after one at %d", got.ResourceVersion, o.Revision)
		}
		o.Revision = revisionOf(got.ResourceVersion)
		for i := range got.Items {
			o.Items = append(o.Items, versionOf(&got.Items[i]))
		}
		if token = got.Continue; token == "" {
			p.whole++
			return nil
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// again goes on with the token of an Expired answer: at the newest revision.
func (p *pager) again(t *testing.T, expired page) error {
	if expired.Reason != "Expired" || expired.Continue == "" {
		return fmt.Errorf("410 with reason %q and token %q: %s", expired.Reason, expired.Continue, expired.Message)
	}
	got, err := p.page(t.Context(), "limit=1000&continue="+expired.Continue)
	if err == nil && got.Code != 0 {
		err = fmt.Errorf("going on after 410: %d %s", got.Code, got.Message)
	}
	return err
}

// afterCompaction: what is compacted is refused by a server that has not
// seen it, and each refusal says how to go on.
func afterCompaction(t *testing.T, e *etcd, d *rest, old int64, restart func()) {
	t.Helper()
	p := &pager{rest: d}
	first, err := p.page(t.Context(), "limit=4")
	if err != nil || first.Continue == "" {
		t.Fatalf("first page: %v", err)
	}
	w := newWriter(history.NewRecorder(), 1, 5)
	for range 30 {
		w.step(t.Context(), d)
	}
	e.compact(t)
	restart()
	for range 30 { // so that the history of the new process is not its edge
		w.step(t.Context(), d)
	}
	got, err := p.page(t.Context(), "limit=4&continue="+first.Continue)
	if err != nil || got.Code != http.StatusGone {
		t.Errorf("a page of a compacted revision: %d %v", got.Code, err)
	} else if err := p.again(t, got); err != nil {
		t.Error(err)
	}
	exact, err := p.page(t.Context(), fmt.Sprintf("resourceVersionMatch=Exact&resourceVersion=%d", old))
	if err != nil || exact.Code != http.StatusGone || exact.Reason != "Expired" {
		t.Errorf("a list of a compacted revision: %d %s %v", exact.Code, exact.Reason, err)
	}
	stream, err := d.watch(t.Context(), "", old)
	if err != nil {
		t.Fatalf("watch: %v", err)
	}
	defer stream.close()
	events, err := stream.next()
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsResourceExpired(err) || status.Status().Code != http.StatusGone {
		t.Errorf("a watch from a compacted revision: %v, %v", events, err)
	}
	// Starting again works.
	now := history.Op{Verb: history.List}
	if d.do(t.Context(), &now); now.Outcome != history.Done || !slices.ContainsFunc(now.Items, func(v history.Version) bool { return v.Key == last }) {
		t.Errorf("list: %v", now)
	}
}
