package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/test/apiservertest"
	"xebec.dev/test/chaos/history"
)

// rounds is how often a test does its harm.
func rounds(short int) int {
	if n, err := strconv.Atoi(os.Getenv("CHAOS_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return short
}

// seeded random numbers; CHAOS_SEED repeats a run's choices.
func seeded(t testing.TB) *rand.Rand {
	seed := time.Now().UnixNano()
	if n, err := strconv.ParseInt(os.Getenv("CHAOS_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("CHAOS_SEED=%d", seed)
	return rand.New(rand.NewSource(seed))
}

// prepare makes the namespace.
func prepare(t testing.TB, s *apiservertest.Server) {
	t.Helper()
	r := restDoor(t, s)
	r.base = s.URL + "/api/v1/namespaces"
	resp, err := r.request(t.Context(), http.MethodPost, "", []byte(`{"metadata":{"name":"`+namespace+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusConflict {
		t.Fatalf("create namespace: %s", resp.Status)
	}
	// The admission plugin of another server, or of a new process, may hear
	// of the namespace a moment later.
	m := restDoor(t, s)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		o := history.Op{Verb: history.Create, Key: "first", Value: "first0"}
		if m.do(t.Context(), &o); o.Outcome == history.Done {
			o.Verb = history.Delete
			m.do(t.Context(), &o)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the namespace can't be used: %v", o)
		}
	}
}

// writer is one client: it works on a few shared keys with what it has seen
// of them last.
type writer struct {
	id   int
	rec  *history.Recorder
	rnd  *rand.Rand
	keys int
	seen map[string]history.Version
	n    int
	// patience with one operation.
	patience time.Duration
}

var clients atomic.Int64

func newWriter(rec *history.Recorder, seed int64, keys int) *writer {
	id := int(clients.Add(1))
	return &writer{id: id, rec: rec, rnd: rand.New(rand.NewSource(seed)), keys: keys, seen: map[string]history.Version{}, patience: 20 * time.Second}
}

func (w *writer) op(ctx context.Context, d door, o history.Op) history.Op {
	o.Client = w.id
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	return w.rec.Do(o, func(o *history.Op) { d.do(ctx, o) })
}

// step does one operation at random.
func (w *writer) step(ctx context.Context, d door) history.Op {
	key := fmt.Sprintf("k%02d", w.rnd.Intn(w.keys))
	v, known := w.seen[key]
	w.n++
	value := fmt.Sprintf("c%d-%d-%d", w.id, w.n, w.rnd.Intn(10))
	var o history.Op
	switch p := w.rnd.Intn(100); {
	case p < 3:
		return w.op(ctx, d, history.Op{Verb: history.List})
	case p < 20:
		o = history.Op{Verb: history.Get, Key: key}
	case p < 28:
		o = history.Op{Verb: history.Delete, Key: key}
	case known:
		o = history.Op{Verb: history.Update, Key: key, Value: value, Expect: v.Value, Base: v.Revision}
	default:
		o = history.Op{Verb: history.Create, Key: key, Value: value}
	}
	o = w.op(ctx, d, o)
	w.learn(ctx, d, o)
	return o
}

func (w *writer) learn(ctx context.Context, d door, o history.Op) {
	delete(w.seen, o.Key)
	switch {
	case o.Outcome == history.Done && o.Verb != history.Delete:
		w.seen[o.Key] = history.Version{Key: o.Key, Value: o.Value, Revision: o.Revision}
	case o.Outcome == history.Conflict || o.Outcome == history.Exists:
		if g := w.op(ctx, d, history.Op{Verb: history.Get, Key: o.Key}); g.Outcome == history.Done {
			w.seen[o.Key] = history.Version{Key: o.Key, Value: g.Value, Revision: g.Revision}
		}
	case o.Outcome == history.Unknown || o.Outcome == history.Refused:
		// A server that is down refuses at once: don't spin.
		time.Sleep(20 * time.Millisecond)
	}
}

// traffic runs writers until stop is closed; the returned function waits for
// them.
func traffic(ctx context.Context, rec *history.Recorder, rnd *rand.Rand, n, keys int, doors []door, stop <-chan struct{}) (wait func()) {
	var wg sync.WaitGroup
	for i := range n {
		w := newWriter(rec, rnd.Int63(), keys)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-ctx.Done():
					return
				default:
					w.step(ctx, doors[i%len(doors)])
				}
			}
		})
	}
	return wg.Wait
}

// list reads everything, as an operation of a client of its own.
func list(t testing.TB, rec *history.Recorder, d door) history.Op {
	t.Helper()
	o := newWriter(rec, 1, 1).op(t.Context(), d, history.Op{Verb: history.List})
	if o.Outcome != history.Done {
		t.Fatalf("list: %v", o)
	}
	return o
}

// settle ends a history: it reads all keys and the list, and checks the
// operations.
func settle(t testing.TB, rec *history.Recorder, d door, keys int) {
	t.Helper()
	w := newWriter(rec, 1, keys)
	for i := range keys {
		if o := w.op(t.Context(), d, history.Op{Verb: history.Get, Key: fmt.Sprintf("k%02d", i)}); o.Outcome > history.NotFound {
			t.Fatalf("in the end: %v", o)
		}
	}
	final := list(t, rec, d)
	ops := rec.Ops()
	for _, err := range []error{
		history.Durable(ops, final.Items), history.Linearizable(ops), history.CAS(ops),
		history.Revisions(ops), history.NoTimeTravel(ops), history.FailClosed(ops),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	counts := ""
	for _, v := range []history.Verb{history.Create, history.Update, history.Delete, history.Get, history.List} {
		counts += fmt.Sprintf(" %s %d/%d/%d", v, history.Count(ops, v, history.Done), history.Count(ops, v, history.Unknown), history.Count(ops, v, history.Refused))
	}
	t.Logf("%d operations (done/unknown/refused):%s", len(ops), counts)
}

// last is the object that tells watchers that the traffic is over.
const last = "zz-last"

// finish writes it, alone in its revision and in every selection.
func finish(t testing.TB, rec *history.Recorder, d door) int64 {
	t.Helper()
	o := newWriter(rec, 1, 1).op(t.Context(), d, history.Op{Verb: history.Create, Key: last, Value: "end0"})
	if o.Outcome != history.Done {
		t.Fatalf("last write: %v", o)
	}
	return o.Revision
}

// follower is a client that watches as an informer does: whenever its stream
// ends it goes on from the newest revision it has seen.
type follower struct {
	name     string
	door     door
	labels   string
	segments []*history.Watch
	expired  int
	err      error
	// cut, when set, is asked after each event whether to hang up.
	cut func(history.Event) bool
}

// run follows until it has seen the last object.
func (f *follower) run(ctx context.Context, after int64) {
	for n := 0; ; n++ {
		w := &history.Watch{Name: fmt.Sprintf("%s, stream %d after %d", f.name, n, after), After: after, Whole: f.door.whole(), Until: after}
		end, err := f.stream(ctx, w)
		if len(w.Events) > 0 || end {
			f.segments = append(f.segments, w)
			after = max(after, w.Until)
		}
		if end {
			return
		}
		if ctx.Err() != nil {
			f.err = fmt.Errorf("%s: the last event has not come: %w", w.Name, err)
			return
		}
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			f.expired++
			f.err = fmt.Errorf("%s: %w", w.Name, err)
			return
		}
		if len(w.Events) == 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

var errCut = errors.New("cut")

// stream reads one stream into w, and reports whether it saw the last object.
func (f *follower) stream(ctx context.Context, w *history.Watch) (bool, error) {
	s, err := f.door.watch(ctx, f.labels, w.After)
	if err != nil {
		return false, err
	}
	defer s.close()
	for batch := 1; ; batch++ {
		events, err := s.next()
		if err != nil {
			return false, err
		}
		for _, e := range events {
			e.Batch = batch
			w.Events = append(w.Events, e)
			w.Until = max(w.Until, e.Revision)
			if e.Key == last {
				return true, nil
			}
			// Who hangs up amid what is repeated gets nowhere.
			if !w.Whole && f.cut != nil && e.Revision > w.After && f.cut(e) {
				return false, errCut
			}
		}
		if w.Whole && f.cut != nil && f.cut(events[0]) {
			return false, errCut
		}
	}
}

// merged is all it saw as an informer's store takes it: what a resume
// repeats is taken once.
func (f *follower) merged() *history.Watch {
	type id struct {
		key      string
		revision int64
	}
	had := map[id]bool{}
	m := &history.Watch{Name: f.name, After: f.segments[0].After}
	for _, w := range f.segments {
		for _, e := range w.Events {
			i := id{e.Key, e.Revision}
			if e.Kind == history.Bookmark || had[i] || e.Revision <= m.After {
				continue
			}
			had[i] = true
			m.Events = append(m.Events, e)
			m.Until = e.Revision
		}
	}
	return m
}

// check holds a follower's streams against truth.
func (f *follower) check(truth []history.Event) error {
	if f.err != nil {
		return f.err
	}
	for i, w := range f.segments {
		// A stream that broke may end amid its last revision.
		part := *w
		if i < len(f.segments)-1 && !w.Whole {
			part.Until--
		}
		if err := errors.Join(history.WatchOrdered(w), history.WatchAtomic(w)); err != nil {
			return err
		}
		if part.Until < w.After {
			continue
		}
		if err := history.WatchResumable(&part, truth); err != nil {
			return err
		}
	}
	return history.WatchReliable(f.merged(), truth)
}
