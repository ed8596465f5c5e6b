package history

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// sound is a history in which everything is as promised; b's second writer
// never heard of its success.
func sound() []Op {
	return []Op{
		{Client: 1, Verb: Create, Key: "a", Value: "a1", Revision: 10, Generation: 1, Call: 0, Return: 2 * ms},
		{Client: 2, Verb: Create, Key: "b", Value: "b1", Revision: 10, Generation: 1, Call: 1 * ms, Return: 3 * ms},
		{Client: 2, Verb: Get, Key: "a", Value: "a1", Revision: 10, Call: 4 * ms, Return: 5 * ms},
		{Client: 1, Verb: Update, Key: "a", Value: "a2", Expect: "a1", Base: 10, Revision: 11, Generation: 2, Spec: true, Call: 6 * ms, Return: 8 * ms},
		{Client: 2, Verb: Update, Key: "a", Value: "ax", Expect: "a1", Base: 10, Outcome: Conflict, Call: 7 * ms, Return: 9 * ms},
		{Client: 3, Verb: Update, Key: "b", Value: "b2", Expect: "b1", Base: 10, Outcome: Unknown, Call: 7 * ms, Return: 10 * ms},
		{Client: 1, Verb: List, Revision: 12, Items: []Version{{"a", "a2", 11}, {"b", "b2", 12}}, Call: 11 * ms, Return: 12 * ms},
		{Client: 2, Verb: Delete, Key: "a", Call: 13 * ms, Return: 14 * ms},
		{Client: 2, Verb: Get, Key: "a", Outcome: NotFound, Call: 15 * ms, Return: 16 * ms},
		{Client: 1, Verb: Get, Key: "b", Outcome: Refused, Code: 503, RetryAfter: "1", Call: 17 * ms, Return: 18 * ms},
		{Client: 1, Verb: List, Revision: 13, Items: []Version{{"b", "b2", 12}}, Call: 19 * ms, Return: 20 * ms},
	}
}

func truth() []Event {
	return []Event{
		{Added, "a", "a1", 10, 1}, {Added, "b", "b1", 10, 1}, {Modified, "a", "a2", 11, 2},
		{Modified, "b", "b2", 12, 3}, {Bookmark, "", "", 12, 4}, {Deleted, "a", "a2", 13, 5}, {Bookmark, "", "", 14, 6},
	}
}

func watched() *Watch {
	return &Watch{Name: "w", After: 9, Events: truth(), Whole: true, Until: 14}
}

// resumed begins amid revision 10.
func resumed() *Watch {
	return &Watch{Name: "r", After: 10, Events: truth(), Until: 14}
}

var final = []Version{{"b", "b2", 12}}

var checks = map[string]func(ops []Op, w, r *Watch) error{
	"durable":      func(ops []Op, _, _ *Watch) error { return Durable(ops, final) },
	"linearizable": func(ops []Op, _, _ *Watch) error { return Linearizable(ops) },
	"cas":          func(ops []Op, _, _ *Watch) error { return CAS(ops) },
	"generations": func(ops []Op, _, _ *Watch) error {
		return Generations(slices.DeleteFunc(slices.Clone(ops), func(o Op) bool { return o.Verb == Delete || o.Outcome != Done }))
	},
	"revisions":    func(ops []Op, _, _ *Watch) error { return Revisions(ops) },
	"time travel":  func(ops []Op, _, _ *Watch) error { return NoTimeTravel(ops) },
	"fail closed":  func(ops []Op, _, _ *Watch) error { return FailClosed(ops) },
	"ordered":      func(_ []Op, w, _ *Watch) error { return WatchOrdered(w) },
	"unique":       func(_ []Op, w, _ *Watch) error { return WatchUnique(w) },
	"atomic":       func(_ []Op, w, _ *Watch) error { return WatchAtomic(w) },
	"reliable":     func(_ []Op, w, _ *Watch) error { return WatchReliable(w, truth()) },
	"resumable":    func(_ []Op, _, r *Watch) error { return WatchResumable(r, truth()) },
	"bookmarkable": func(_ []Op, w, _ *Watch) error { return WatchBookmarkable(w, truth()) },
	"fitting":      func(_ []Op, w, _ *Watch) error { return Fitting(w) },
	"replayed":     func(ops []Op, w, _ *Watch) error { return Replayed(w, ops) },
	"witnessed":    func(ops []Op, w, _ *Watch) error { return Witnessed(w, ops) },
}

func TestSoundHistoryPasses(t *testing.T) {
	for name, check := range checks {
		if err := check(sound(), watched(), resumed()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each mutant breaks one promise, and the checker of that promise must say so.
func TestMutantsAreFound(t *testing.T) {
	for _, m := range []struct {
		check, about string
		mutate       func(ops []Op, w, r *Watch)
	}{
		{"durable", "an acknowledged update is lost", func(ops []Op, _, _ *Watch) {
			ops[5] = Op{Verb: Update, Key: "b", Value: "b3", Call: 7 * ms, Return: 10 * ms, Revision: 12}
		}},
		{"durable", "an acknowledged create is lost", func(ops []Op, _, _ *Watch) { ops[9] = Op{Verb: Create, Key: "c", Value: "c1", Revision: 14} }},
		{"durable", "a value from nowhere", func(ops []Op, _, _ *Watch) { ops[1].Key, ops[5].Key = "z", "z" }},
		{"linearizable", "a stale read", func(ops []Op, _, _ *Watch) {
			ops[9] = Op{Verb: Get, Key: "a", Value: "a1", Revision: 10, Call: 17 * ms, Return: 18 * ms}
		}},
		{"linearizable", "an update of a version that was gone", func(ops []Op, _, _ *Watch) { ops[4].Outcome, ops[4].Revision = Done, 12 }},
		{"linearizable", "a false conflict", func(ops []Op, _, _ *Watch) { ops[3].Outcome = Conflict; ops[4].Call = 9 * ms; ops[4].Return = 10 * ms }},
		{"linearizable", "created twice", func(ops []Op, _, _ *Watch) { ops[1].Key, ops[1].Value = "a", "b1" }},
		{"cas", "two successes from one version", func(ops []Op, _, _ *Watch) { ops[4].Outcome, ops[4].Revision = Done, 12 }},
		{"generations", "a status update counted", func(ops []Op, _, _ *Watch) { ops[3].Spec = false }},
		{"generations", "a jump", func(ops []Op, _, _ *Watch) { ops[3].Generation = 3 }},
		{"revisions", "a later write with an earlier revision", func(ops []Op, _, _ *Watch) { ops[3].Revision = 9 }},
		{"revisions", "a list older than a write", func(ops []Op, _, _ *Watch) { ops[6].Revision = 10 }},
		{"time travel", "an older list after a newer one", func(ops []Op, _, _ *Watch) { ops[10].Revision = 11 }},
		{"time travel", "an older object after a newer one", func(ops []Op, _, _ *Watch) {
			ops[9] = Op{Client: 1, Verb: Get, Key: "a", Value: "a1", Revision: 10, Call: 17 * ms}
		}},
		{"fail closed", "an existing object is not found", func(ops []Op, _, _ *Watch) { ops[9].Outcome = NotFound }},
		{"fail closed", "an empty list", func(ops []Op, _, _ *Watch) { ops[10].Items = nil }},
		{"fail closed", "refused for how long?", func(ops []Op, _, _ *Watch) { ops[9].RetryAfter = "" }},
		{"ordered", "two events change places", func(_ []Op, w, _ *Watch) { w.Events[2], w.Events[3] = w.Events[3], w.Events[2] }},
		{"ordered", "an event before the start", func(_ []Op, w, _ *Watch) { w.Events[0].Revision = 8 }},
		{"unique", "an event comes twice", func(_ []Op, w, _ *Watch) { w.Events = slices.Insert(w.Events, 3, w.Events[2]) }},
		{"unique", "an event that the list had", func(_ []Op, w, _ *Watch) { w.After = 10 }},
		{"atomic", "a revision in two batches", func(_ []Op, w, _ *Watch) { w.Events[1].Batch = 2 }},
		{"atomic", "another revision between", func(_ []Op, w, _ *Watch) { w.Whole = false; w.Events[1], w.Events[2] = w.Events[2], w.Events[1] }},
		{"atomic", "a bookmark within a revision", func(_ []Op, w, _ *Watch) { w.Events = slices.Insert(w.Events, 1, Event{Kind: Bookmark, Revision: 10}) }},
		{"reliable", "an event is dropped", func(_ []Op, w, _ *Watch) { w.Events = slices.Delete(w.Events, 2, 3) }},
		{"reliable", "half a revision is dropped", func(_ []Op, w, _ *Watch) { w.Events = slices.Delete(w.Events, 1, 2) }},
		{"reliable", "the last event is dropped", func(_ []Op, w, _ *Watch) { w.Events = slices.Delete(w.Events, 5, 6) }},
		{"reliable", "another value", func(_ []Op, w, _ *Watch) { w.Events[2].Value = "a1" }},
		{"resumable", "the other half is not repeated", func(_ []Op, _, r *Watch) { r.Events = slices.Delete(r.Events, 1, 2) }},
		{"resumable", "nothing is repeated", func(_ []Op, _, r *Watch) { r.Events = slices.Delete(r.Events, 0, 2) }},
		{"resumable", "a gap after the resume", func(_ []Op, _, r *Watch) { r.Events = slices.Delete(r.Events, 2, 3) }},
		{"resumable", "repeated to one who had all", func(_ []Op, _, r *Watch) { r.Whole = true }},
		{"bookmarkable", "a bookmark too early", func(_ []Op, w, _ *Watch) { w.Events[4].Revision = 13 }},
		{"bookmarkable", "older events after it", func(_ []Op, w, _ *Watch) { w.Events[4], w.Events[3] = w.Events[3], w.Events[4] }},
		{"bookmarkable", "none", func(_ []Op, w, _ *Watch) { w.Events = w.Changes() }},
		{"fitting", "added twice", func(_ []Op, w, _ *Watch) { w.Events[2].Kind = Added }},
		{"fitting", "modified while absent", func(_ []Op, w, _ *Watch) { w.Events[0].Kind = Modified }},
		{"replayed", "a list with a hole", func(ops []Op, _, _ *Watch) { ops[6].Items = ops[6].Items[1:] }},
		{"replayed", "a list with what comes later", func(ops []Op, _, _ *Watch) { ops[6].Revision = 11 }},
		{"witnessed", "an acknowledged write has no event", func(_ []Op, w, _ *Watch) { w.Events = slices.Delete(w.Events, 2, 3) }},
		{"witnessed", "an event of another revision", func(_ []Op, w, _ *Watch) { w.Events[2].Revision = 12 }},
		{"witnessed", "an event of no write", func(ops []Op, _, _ *Watch) { ops[5].Outcome = Refused }},
	} {
		ops, w, r := sound(), watched(), resumed()
		m.mutate(ops, w, r)
		if err := checks[m.check](ops, w, r); err == nil {
			t.Errorf("%s does not see: %s", m.check, m.about)
		} else if !strings.HasPrefix(err.Error(), "I") {
			t.Errorf("%s: %v names no invariant", m.check, err)
		}
	}
}

func TestBounded(t *testing.T) {
	before := Sample{RSS: 200 << 20, Goroutines: 300, Files: 50}
	if err := Bounded(before, before); err != nil {
		t.Error(err)
	}
	for _, after := range []Sample{
		{RSS: 300 << 20, Goroutines: 300, Files: 50},
		{RSS: 200 << 20, Goroutines: 400, Files: 50},
		{RSS: 200 << 20, Goroutines: 300, Files: 70},
	} {
		if Bounded(before, after) == nil {
			t.Errorf("%+v after %+v is not seen", after, before)
		}
	}
}
