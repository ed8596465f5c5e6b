package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/test/apiservertest"
	"xebec.dev/test/chaos/history"
)

// recording is what watchers saw while many clients wrote, at both doors.
type recording struct {
	ops   []history.Op
	start []history.Version
	// truth is all changes, as one watcher saw them and the operations and
	// lists bear out.
	truth     *history.Watch
	followers []*follower
}

var recordOnce struct {
	sync.Mutex
	r *recording
}

// record makes the recording that the tests of the six promises share.
func record(t *testing.T) *recording {
	t.Helper()
	recordOnce.Lock()
	defer recordOnce.Unlock()
	if recordOnce.r == nil {
		recordOnce.r = newRecording(t)
	}
	if recordOnce.r == nil {
		t.Fatal("there is no recording")
	}
	return recordOnce.r
}

func newRecording(t *testing.T) *recording {
	t.Helper()
	s := apiservertest.Start(t)
	prepare(t, s)
	rec := history.NewRecorder()
	r, g := restDoor(t, s), rpcDoor(t, s)
	rnd := seeded(t)
	// Some history before the watches begin.
	warm := make(chan struct{})
	wait := traffic(t.Context(), rec, rnd, 8, 24, []door{r, g}, warm)
	time.Sleep(200 * time.Millisecond)
	close(warm)
	wait()
	begin := list(t, rec, r)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := &recording{start: begin.Items}
	witness := &follower{name: "witness", door: g}
	out.followers = []*follower{witness,
		{name: "gRPC, labelled", door: g, labels: labelled},
		{name: "REST", door: r},
		{name: "REST, labelled", door: r, labels: labelled},
		{name: "REST, cut", door: r, cut: cutEvery(9)},
		{name: "REST, labelled and cut", door: r, labels: labelled, cut: cutEvery(7)},
		{name: "gRPC, cut", door: g, cut: cutEvery(5)},
	}
	var watching sync.WaitGroup
	for _, f := range out.followers {
		watching.Go(func() { f.run(ctx, begin.Revision) })
	}
	stop := make(chan struct{})
	wait = traffic(ctx, rec, rnd, 48, 24, []door{r, g}, stop)
	time.Sleep(time.Duration(rounds(5)) * 400 * time.Millisecond)
	close(stop)
	wait()
	finish(t, rec, r)
	watching.Wait()
	for _, f := range out.followers {
		if f.err != nil {
			t.Fatal(f.err)
		}
	}
	out.ops = rec.Ops()
	out.truth = witness.merged()
	out.truth.Start = begin.Items
	t.Logf("%d operations, %d changes, %d revisions with several changes", len(out.ops), len(out.truth.Events), len(history.Grouped(out.truth.Events)))
	for _, err := range []error{
		history.Witnessed(out.truth, out.ops), history.Replayed(out.truth, out.ops), history.Fitting(out.truth),
		history.Linearizable(out.ops), history.CAS(out.ops), history.Revisions(out.ops), history.NoTimeTravel(out.ops), history.FailClosed(out.ops),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(history.Grouped(out.truth.Events)) == 0 {
		t.Fatal("no writes shared a revision: the recording proves too little")
	}
	return out
}

// cutEvery hangs up after every n-th event, so often amid a revision.
func cutEvery(n int) func(history.Event) bool {
	seen := 0
	return func(e history.Event) bool {
		if e.Kind != history.Bookmark {
			seen++
		}
		return seen%n == 0
	}
}

// visible is what a watch with a label selector shows of all changes: an
// object that begins to match is added, one that ceases to is deleted.
func visible(all []history.Event, start []history.Version) (out []history.Event) {
	had := map[string]string{}
	for _, v := range start {
		had[v.Key] = v.Value
	}
	for _, e := range all {
		before, was := had[e.Key]
		was = was && even(before)
		is := e.Kind != history.Deleted && even(e.Value)
		switch {
		case was && is:
			e.Kind = history.Modified
		case is:
			e.Kind = history.Added
		case was:
			e.Kind, e.Value = history.Deleted, before
		}
		if was || is {
			out = append(out, e)
		}
		if had[e.Key] = e.Value; e.Kind == history.Deleted && !was || e.Kind == history.Deleted && e.Value == before {
			delete(had, e.Key)
		}
	}
	return out
}

// shown is the truth for a follower's selection.
func (r *recording) shown(f *follower) []history.Event {
	if f.labels == "" {
		return r.truth.Events
	}
	return visible(r.truth.Events, r.start)
}

// each runs a check over every stream of the recording.
func (r *recording) each(t *testing.T, check func(*follower, *history.Watch) error) {
	t.Helper()
	for _, f := range r.followers {
		for _, w := range f.segments {
			if err := check(f, w); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestWatchOrdered: the events of a watch come in the order of revisions.
func TestWatchOrdered(t *testing.T) {
	record(t).each(t, func(_ *follower, w *history.Watch) error { return history.WatchOrdered(w) })
}

// TestWatchUnique: no event comes twice; but a resumed REST watch may begin
// with the whole of the revision it resumed at.
func TestWatchUnique(t *testing.T) {
	record(t).each(t, func(_ *follower, w *history.Watch) error {
		fresh := *w
		if !w.Whole {
			fresh.After--
		}
		return history.WatchUnique(&fresh)
	})
}

// TestWatchAtomic: a revision's events come together, and by gRPC in one
// batch.
func TestWatchAtomic(t *testing.T) {
	record(t).each(t, func(_ *follower, w *history.Watch) error { return history.WatchAtomic(w) })
}

// TestWatchReliable: a watch shows every change that its selection shows,
// and a client that resumes has seen all of them in the end.
func TestWatchReliable(t *testing.T) {
	r := record(t)
	for _, f := range r.followers {
		m := f.merged()
		if err := history.WatchReliable(m, r.shown(f)); err != nil {
			t.Error(err)
		}
		for _, v := range r.start {
			if f.labels == "" || even(v.Value) {
				m.Start = append(m.Start, v)
			}
		}
		if err := history.Fitting(m); err != nil {
			t.Error(err)
		}
	}
}

// TestWatchResumable: cut anywhere, amid a revision too, a watch goes on
// without a gap.
func TestWatchResumable(t *testing.T) {
	r := record(t)
	torn := 0
	for _, f := range r.followers {
		truth := r.shown(f)
		if err := f.check(truth); err != nil {
			t.Error(err)
		}
		if f.door.whole() {
			continue
		}
		for _, w := range f.segments[:len(f.segments)-1] {
			if n := countAt(truth, w.Until); n > 1 && countAt(w.Events, w.Until) < n {
				torn++
			}
		}
	}
	if torn == 0 {
		t.Error("no stream was cut amid a revision: the recording proves too little")
	}
	t.Logf("%d streams were cut amid a revision", torn)
}

func countAt(events []history.Event, revision int64) (n int) {
	for _, e := range events {
		if e.Kind != history.Bookmark && e.Revision == revision {
			n++
		}
	}
	return n
}

// TestWatchResumableFromEveryGroup resumes at each shared revision of a
// server's life, at both doors, and after a restart of the server.
func TestWatchResumableFromEveryGroup(t *testing.T) {
	s := apiservertest.Start(t)
	prepare(t, s)
	rec := history.NewRecorder()
	r, g := restDoor(t, s), rpcDoor(t, s)
	begin := list(t, rec, r)
	stop := make(chan struct{})
	wait := traffic(t.Context(), rec, seeded(t), 32, 24, []door{r, g}, stop)
	time.Sleep(300 * time.Millisecond)
	close(stop)
	wait()
	finish(t, rec, r)
	truth := followed(t, &follower{name: "all", door: g}, begin.Revision).merged().Events
	groups := history.Grouped(truth)
	if len(groups) == 0 {
		t.Fatal("no writes shared a revision")
	}
	if len(groups) > 40 {
		groups = groups[:40]
	}
	t.Logf("%d shared revisions", len(groups))
	resume := func() {
		t.Helper()
		for _, d := range []door{restDoor(t, s), rpcDoor(t, s)} {
			for _, group := range groups {
				f := followed(t, &follower{name: fmt.Sprintf("%T", d), door: d}, group)
				if err := f.check(truth); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	resume()
	s.Kill()
	s.Run(t)
	resume()
}

// followed runs a follower to the end.
func followed(t *testing.T, f *follower, after int64) *follower {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	f.run(ctx, after)
	if f.err != nil {
		t.Fatal(f.err)
	}
	return f
}

// TestWatchBookmarkable: what a bookmark says is complete is complete, and
// nothing older comes after it; bookmarks are where a watch can resume.
func TestWatchBookmarkable(t *testing.T) {
	r := record(t)
	r.each(t, func(f *follower, w *history.Watch) error {
		// REST's come by the clock: below. A stream that was cut may end
		// before its first.
		if !w.Whole || len(w.Events) == 0 || strings.Contains(w.Name, "cut") {
			return nil
		}
		return history.WatchBookmarkable(w, r.shown(f))
	})
	s := apiservertest.Start(t)
	prepare(t, s)
	rec := history.NewRecorder()
	d, g := restDoor(t, s), rpcDoor(t, s)
	g.bookmarks = 200
	begin := list(t, rec, d)
	stop := make(chan struct{})
	wait := traffic(t.Context(), rec, seeded(t), 16, 8, []door{d, g}, stop)
	// The server sends a bookmark two seconds before the end of a watch.
	timed := &history.Watch{Name: "REST with bookmarks", After: begin.Revision}
	short := *d
	short.seconds = 3
	var watching sync.WaitGroup
	watching.Go(func() { readTimed(t, &short, timed) })
	time.Sleep(500 * time.Millisecond)
	close(stop)
	wait()
	idle := idleBookmarks(t, g, list(t, rec, d).Revision)
	if idle < 2 {
		t.Errorf("%d bookmarks in a second of silence by gRPC, asked for one each 200 ms", idle)
	}
	watching.Wait()
	end := finish(t, rec, d)
	truth := followed(t, &follower{name: "all", door: g}, begin.Revision).merged().Events
	if err := history.WatchBookmarkable(timed, truth); err != nil {
		t.Fatal(err)
	}
	mark := timed.Events[len(timed.Events)-1]
	f := followed(t, &follower{name: "from the bookmark", door: d}, mark.Revision)
	if err := f.check(truth); err != nil || end <= mark.Revision {
		t.Errorf("resumed at %s: %v", mark, err)
	}
}

func idleBookmarks(t *testing.T, d door, after int64) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 1100*time.Millisecond)
	defer cancel()
	s, err := d.watch(ctx, "", after)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for {
		events, err := s.next()
		if err != nil {
			return n
		}
		for _, e := range events {
			if e.Kind == history.Bookmark && e.Revision >= after {
				n++
			}
		}
	}
}

// readTimed reads a watch of three seconds.
func readTimed(t *testing.T, d *rest, w *history.Watch) {
	s, err := d.watch(t.Context(), "", w.After)
	if err != nil {
		t.Error(err)
		return
	}
	defer s.close()
	for {
		events, err := s.next()
		var status apierrors.APIStatus
		if errors.As(err, &status) {
			t.Error(err)
		}
		if err != nil {
			return
		}
		w.Events = append(w.Events, events...)
		w.Until = max(w.Until, events[0].Revision)
	}
}
