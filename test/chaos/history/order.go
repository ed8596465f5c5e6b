package history

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Durable is I1: each object's final state is that of a write, acknowledged
// or of unknown outcome, that no acknowledged write came after.
func Durable(ops []Op, final []Version) error {
	there := stateOf(final)
	for key, writes := range writesByKey(ops) {
		v, exists := there[key]
		delete(there, key)
		if !explained(writes, v, exists) {
			return fmt.Errorf("I1: %s is %q@%d (there: %v) in the end, which no last write explains: %v", key, v.Value, v.Revision, exists, writes)
		}
	}
	for key, v := range there {
		return fmt.Errorf("I1: %s is %q@%d in the end, and nobody wrote it", key, v.Value, v.Revision)
	}
	return nil
}

func explained(writes []Op, v Version, exists bool) bool {
	acked := false
	for i, w := range writes {
		acked = acked || w.Outcome == Done
		if superseded(writes, i) {
			continue
		}
		if exists && w.Verb != Delete && w.Value == v.Value || !exists && w.Verb == Delete {
			return true
		}
	}
	return !exists && !acked // nothing is known to have happened
}

// superseded: an acknowledged write began after this one had ended.
func superseded(writes []Op, i int) bool {
	w := writes[i]
	return w.Outcome == Done && slices.ContainsFunc(writes, func(o Op) bool { return o.Outcome == Done && o.Call > w.Return })
}

func writesByKey(ops []Op) map[string][]Op {
	byKey := map[string][]Op{}
	for _, o := range ops {
		if o.takesEffect() {
			byKey[o.Key] = append(byKey[o.Key], o)
		}
	}
	return byKey
}

// Linearizable is I2: the operations on each object have one order that
// explains all answers and fits real time. Lists are I4's and Replayed's.
func Linearizable(ops []Op) error {
	byKey := map[string][]porcupine.Operation{}
	for i := range ops {
		o := &ops[i]
		if o.Verb == List || o.Outcome == Refused || o.Outcome == Unknown && !o.Verb.writes() {
			continue
		}
		end := int64(o.Return)
		if o.Outcome == Unknown {
			end = math.MaxInt64
		}
		byKey[o.Key] = append(byKey[o.Key], porcupine.Operation{ClientId: i, Input: o, Output: o, Call: int64(o.Call), Return: end})
	}
	for key, history := range byKey {
		switch porcupine.CheckOperationsTimeout(register, history, 20*time.Second) {
		case porcupine.Illegal:
			return fmt.Errorf("I2: the history of %s is not linearizable: %s", key, show(history))
		case porcupine.Unknown:
			return fmt.Errorf("I2: the history of %s (%d operations) was not decided in time", key, len(history))
		}
	}
	return nil
}

func show(history []porcupine.Operation) (s string) {
	for _, o := range history {
		s += "\n  " + o.Input.(*Op).String()
	}
	return s
}

// register is one object: its value, "" while it is absent. An operation of
// unknown outcome that never happened is placed at the end, where it hurts
// nobody.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(s, in, _ any) (bool, any) {
		value, o := s.(string), in.(*Op)
		return step(value, o)
	},
}

func step(value string, o *Op) (bool, any) {
	exists := value != ""
	// The answer that the state calls for, and the state after it.
	answer, after := Done, value
	switch o.Verb {
	case Get:
		if !exists {
			answer = NotFound
		}
		return o.Outcome == answer && (!exists || o.Value == value), value
	case Create:
		if after = o.Value; exists {
			answer, after = Exists, value
		}
	case Update:
		switch after = o.Value; {
		case !exists:
			answer, after = NotFound, value
		case o.Base != 0 && o.Expect != value:
			answer, after = Conflict, value
		}
	case Delete:
		if after = ""; !exists {
			answer = NotFound
		}
	}
	if o.Outcome == Unknown {
		return true, after
	}
	// A precondition on an object that is gone is a conflict to some.
	same := o.Outcome == answer || o.Verb == Update && !exists && o.Outcome == Conflict
	return same, after
}

// CAS is I3: no two updates of one object succeed from one resourceVersion.
func CAS(ops []Op) error {
	type from struct {
		key  string
		base int64
	}
	won := map[from]Op{}
	for _, o := range ops {
		if o.Verb != Update || o.Outcome != Done || o.Base == 0 {
			continue
		}
		f := from{o.Key, o.Base}
		if other, ok := won[f]; ok {
			return fmt.Errorf("I3: two updates succeeded from one resourceVersion:\n  %s\n  %s", other, o)
		}
		won[f] = o
	}
	return nil
}

// Generations is I3, too: a write that changes the spec raises the
// generation by one, another leaves it. It needs every write's answer.
func Generations(ops []Op) error {
	byKey := writesByKey(ops)
	for key, writes := range byKey {
		slices.SortFunc(writes, func(a, b Op) int { return int(a.Revision - b.Revision) })
		for i, o := range writes {
			want := int64(1)
			if i > 0 {
				if want = writes[i-1].Generation; o.Spec {
					want++
				}
			}
			if o.Generation != want {
				return fmt.Errorf("I3: %s has generation %d, want %d: %s", key, o.Generation, want, o)
			}
		}
	}
	return nil
}

// Revisions is I4: a write that begins after another ended has a later
// resourceVersion, of whichever objects; a read that begins after a write
// ended is not older than it.
func Revisions(ops []Op) error {
	ends := slices.DeleteFunc(slices.Clone(ops), func(o Op) bool { return o.Outcome != Done || o.Revision == 0 })
	begins := slices.Clone(ends)
	slices.SortFunc(ends, func(a, b Op) int { return int(a.Return - b.Return) })
	slices.SortFunc(begins, func(a, b Op) int { return int(a.Call - b.Call) })
	newest := Op{}
	newestOf := map[string]Op{}
	next := 0
	for _, o := range begins {
		for ; next < len(ends) && ends[next].Return < o.Call; next++ {
			e := ends[next]
			if e.Revision > newest.Revision {
				newest = e
			}
			if e.Revision > newestOf[e.Key].Revision {
				newestOf[e.Key] = e
			}
		}
		bound := newest
		if o.Verb == Get {
			bound = newestOf[o.Key]
		}
		if o.Revision < bound.Revision || o.Verb.writes() && o.Verb != Delete && o.Revision == bound.Revision && bound.Revision > 0 && bound.Verb != List {
			return fmt.Errorf("I4: a revision went back:\n  %s\n  and then %s", bound, o)
		}
	}
	return nil
}

// NoTimeTravel is I6: what a client sees of an object or of the collection
// never goes back, whichever server it asks.
func NoTimeTravel(ops []Op) error {
	type seen struct {
		client int
		key    string
	}
	// A client may ask for several things at once. Their answers have no
	// order: open are those that had not come yet when it last asked.
	newest, open := map[seen]Op{}, map[seen][]Op{}
	for _, o := range ops {
		if o.Outcome != Done || o.Revision == 0 {
			continue
		}
		at := seen{o.Client, o.Key}
		open[at] = slices.DeleteFunc(open[at], func(earlier Op) bool {
			if earlier.Return > o.Call {
				return false
			}
			if earlier.Revision > newest[at].Revision {
				newest[at] = earlier
			}
			return true
		})
		if last := newest[at]; o.Revision < last.Revision {
			return fmt.Errorf("I6: a client was sent back in time:\n  %s\n  and then %s", last, o)
		}
		open[at] = append(open[at], o)
	}
	return nil
}
