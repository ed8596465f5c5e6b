package history

import (
	"fmt"
	"slices"
)

// WatchOrdered: revisions never go back.
func WatchOrdered(w *Watch) error {
	last := w.After
	for _, e := range w.Events {
		if e.Revision < last {
			return fmt.Errorf("I5 ordered: %s: %s after revision %d", w.Name, e, last)
		}
		last = e.Revision
	}
	return nil
}

// WatchUnique: no change comes twice, none that was there at the start.
func WatchUnique(w *Watch) error {
	type id struct {
		key      string
		revision int64
	}
	had := map[id]bool{}
	for _, e := range w.Changes() {
		i := id{e.Key, e.Revision}
		if had[i] || e.Revision <= w.After {
			return fmt.Errorf("I5 unique: %s: %s is delivered again", w.Name, e)
		}
		had[i] = true
	}
	return nil
}

// WatchAtomic: the changes of a revision come together, none between them;
// where batches are promised whole, in one batch.
func WatchAtomic(w *Watch) error {
	batch := map[int64]int{}
	var last int64
	for i, e := range w.Events {
		if e.Kind == Bookmark {
			if i+1 < len(w.Events) && w.Events[i+1].Revision <= e.Revision {
				return fmt.Errorf("I5 atomic: %s: %s within a revision", w.Name, e)
			}
			continue
		}
		at, seen := batch[e.Revision]
		if seen && (last != e.Revision || w.Whole && at != e.Batch) {
			return fmt.Errorf("I5 atomic: %s: revision %d is torn at %s", w.Name, e.Revision, e)
		}
		batch[e.Revision], last = e.Batch, e.Revision
	}
	return nil
}

// WatchReliable: the watch shows exactly what truth has after its start and
// up to its end, in truth's order of revisions.
func WatchReliable(w *Watch, truth []Event) error {
	want := slices.DeleteFunc(slices.Clone(truth), func(e Event) bool {
		return e.Kind == Bookmark || e.Revision <= w.After || e.Revision > w.Until
	})
	got := slices.DeleteFunc(w.Changes(), func(e Event) bool { return e.Revision > w.Until })
	return sameEvents("I5 reliable: "+w.Name, got, want)
}

func sameEvents(what string, got, want []Event) error {
	got, want = inOrder(got), inOrder(want)
	for i := range min(len(got), len(want)) {
		g, w := got[i], want[i]
		if g.Kind != w.Kind || g.Key != w.Key || g.Value != w.Value || g.Revision != w.Revision {
			return fmt.Errorf("%s: event %d is %s, want %s", what, i, g, w)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d events, want %d", what, len(got), len(want))
	}
	return nil
}

// inOrder sorts by revision and, within one, by key.
func inOrder(events []Event) []Event {
	out := slices.Clone(events)
	slices.SortStableFunc(out, func(a, b Event) int {
		if a.Revision != b.Revision {
			return int(a.Revision - b.Revision)
		}
		if a.Key < b.Key {
			return -1
		} else if a.Key > b.Key {
			return 1
		}
		return 0
	})
	return out
}

// WatchResumable: a watch after w.After, of which the client may have seen a
// part, shows all of truth after it. It may repeat that one revision, as a
// whole and if truth has several changes of it, and nothing else.
func WatchResumable(w *Watch, truth []Event) error {
	at := slices.DeleteFunc(slices.Clone(truth), func(e Event) bool { return e.Revision != w.After })
	repeated := slices.DeleteFunc(w.Changes(), func(e Event) bool { return e.Revision != w.After })
	if len(repeated) > 0 && (w.Whole || len(at) < 2) {
		return fmt.Errorf("I5 resumable: %s: %s is repeated without need", w.Name, repeated[0])
	}
	if len(at) > 1 && !w.Whole || len(repeated) > 0 {
		if err := sameEvents("I5 resumable: "+w.Name+": the revision it resumed at", repeated, at); err != nil {
			return err
		}
	}
	rest := *w
	rest.Events = slices.DeleteFunc(slices.Clone(w.Events), func(e Event) bool { return e.Revision == w.After })
	return WatchReliable(&rest, truth)
}

// WatchBookmarkable: after a bookmark nothing comes that is not later, and
// it promises no more than truth bears out: all changes up to it have come.
func WatchBookmarkable(w *Watch, truth []Event) error {
	seen := 0
	var changes []Event
	for _, e := range w.Events {
		if e.Kind != Bookmark {
			changes = append(changes, e)
			continue
		}
		seen++
		part := &Watch{Name: w.Name + " up to a bookmark", After: w.After, Events: changes, Until: e.Revision}
		if err := WatchReliable(part, truth); err != nil {
			return err
		}
		for _, c := range changes {
			if c.Revision > e.Revision {
				return fmt.Errorf("I5 bookmarkable: %s: %s after %s", w.Name, e, c)
			}
		}
	}
	if seen == 0 {
		return fmt.Errorf("I5 bookmarkable: %s: no bookmark came", w.Name)
	}
	return WatchOrdered(w)
}

// Fitting: each change fits the state before it: only what is absent is
// added, only what is there is modified or deleted. It holds for filtered
// watches, too: what begins to match is added, what ceases to is deleted.
func Fitting(w *Watch) error {
	s := stateOf(w.Start)
	for _, e := range w.Changes() {
		if _, there := s[e.Key]; there == (e.Kind == Added) {
			return fmt.Errorf("I5 filter: %s: %s, but it was there: %v", w.Name, e, there)
		}
		s.apply(e)
	}
	return nil
}

// Replayed: the start and the changes up to a list's revision are that list.
// So lists are points of the one order, and complete.
func Replayed(w *Watch, lists []Op) error {
	lists = slices.DeleteFunc(slices.Clone(lists), func(o Op) bool {
		return o.Verb != List || o.Outcome != Done || o.Revision < w.After || o.Revision > w.Until
	})
	slices.SortFunc(lists, func(a, b Op) int { return int(a.Revision - b.Revision) })
	s := stateOf(w.Start)
	changes := w.Changes()
	for _, l := range lists {
		for len(changes) > 0 && changes[0].Revision <= l.Revision {
			s.apply(changes[0])
			changes = changes[1:]
		}
		if err := differ(stateOf(l.Items), s); err != nil {
			return fmt.Errorf("I5: %s: a list at %d does not equal the events up to it: %w", w.Name, l.Revision, err)
		}
	}
	return nil
}

// Witnessed: the watch shows every acknowledged write at the revision that
// was answered, and no value that nobody wrote.
func Witnessed(w *Watch, ops []Op) error {
	written := map[string]Op{}
	for _, o := range ops {
		if o.takesEffect() && o.Verb != Delete {
			written[o.Value] = o
		}
	}
	shown := map[string]int64{}
	for _, e := range w.Changes() {
		if e.Kind == Deleted {
			continue
		}
		if _, ok := written[e.Value]; !ok {
			return fmt.Errorf("I5: %s: %s, and nobody wrote it", w.Name, e)
		}
		shown[e.Value] = e.Revision
	}
	for value, o := range written {
		if o.Outcome == Done && o.Revision > w.After && o.Revision <= w.Until && shown[value] != o.Revision {
			return fmt.Errorf("I5: %s lacks an acknowledged write (it has revision %d): %s", w.Name, shown[value], o)
		}
	}
	return nil
}

// Grouped are the revisions with several changes, in order.
func Grouped(events []Event) (revisions []int64) {
	n := map[int64]int{}
	for _, e := range events {
		if e.Kind == Bookmark {
			continue
		}
		if n[e.Revision]++; n[e.Revision] == 2 {
			revisions = append(revisions, e.Revision)
		}
	}
	return revisions
}
