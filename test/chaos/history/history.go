// Package history records what clients of an API server did and saw, and
// checks such records for what Kubernetes promises:
//
//	I1 Durable        an acknowledged write is there after every fault
//	I2 Linearizable   the operations on an object have an order in real time
//	I3 CAS            one success per resourceVersion; generations count specs
//	I4 Revisions      resourceVersions rise in real time, across restarts too
//	I5 Watch…         ordered, unique, atomic, reliable, resumable, bookmarkable
//	I6 NoTimeTravel   no client sees an older state than it has seen
//	I7 FailClosed     what cannot be answered is refused, never answered empty
//	I8 Bounded        what a fault took is given back
//
// Every value that is written is written once, so that a value names the
// write it is from.
package history

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Verb of an operation.
type Verb uint8

const (
	Create Verb = iota
	Update
	Delete
	Get
	List
)

func (v Verb) String() string { return [...]string{"create", "update", "delete", "get", "list"}[v] }

func (v Verb) writes() bool { return v <= Delete }

// Outcome of an operation as its client knows it.
type Outcome uint8

const (
	// Done operations succeeded.
	Done Outcome = iota
	// NotFound, Exists and Conflict are answers that depend on the state.
	NotFound
	Exists
	Conflict
	// Expired is 410.
	Expired
	// Refused operations had no effect: nobody took them.
	Refused
	// Unknown ones may have had theirs, or may have it later.
	Unknown
)

func (o Outcome) String() string {
	return [...]string{"done", "not found", "exists", "conflict", "expired", "refused", "unknown"}[o]
}

// Version is an object at a point in time.
type Version struct {
	Key, Value string
	Revision   int64
}

// Op is one operation.
type Op struct {
	Client int
	Verb   Verb
	Key    string // empty for List
	// Value that was written or read.
	Value string
	// Expect is the value that an Update replaces, Base its resourceVersion,
	// sent as the precondition.
	Expect string
	Base   int64
	// Revision of the object, or of the list.
	Revision int64
	// Generation after the write, and whether it changed the spec.
	Generation int64
	Spec       bool
	Items      []Version
	Outcome    Outcome
	// Code is the HTTP status of a refusal, RetryAfter its header.
	Code       int
	RetryAfter string
	// Err is what the client was told, for the reader.
	Err string
	// Call and Return since the recorder's start. Return of an Unknown write
	// does not bound its effect.
	Call, Return time.Duration
}

func (o Op) String() string {
	return fmt.Sprintf("client %d: %s %s %q (expecting %q@%d) at %v: %s %q@%d at %v %s", o.Client, o.Verb, o.Key, o.Value, o.Expect, o.Base, o.Call, o.Outcome, o.Value, o.Revision, o.Return, o.Err)
}

// takesEffect: the write happened or may have.
func (o *Op) takesEffect() bool {
	return o.Verb.writes() && (o.Outcome == Done || o.Outcome == Unknown)
}

// Recorder collects operations of many clients.
type Recorder struct {
	start time.Time
	mu    sync.Mutex
	ops   []Op // guarded by mu
}

// NewRecorder starts the clock.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Do runs an operation and records it; f fills in the outcome.
func (r *Recorder) Do(op Op, f func(*Op)) Op {
	op.Call = time.Since(r.start)
	f(&op)
	op.Return = time.Since(r.start)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
	return op
}

// Ops are the operations so far, in order of their calls.
func (r *Recorder) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := slices.Clone(r.ops)
	slices.SortStableFunc(ops, func(a, b Op) int { return int(a.Call - b.Call) })
	return ops
}

// Count of the operations with an outcome.
func Count(ops []Op, verb Verb, outcome Outcome) (n int) {
	for _, o := range ops {
		if o.Verb == verb && o.Outcome == outcome {
			n++
		}
	}
	return n
}

// Kind of an event.
type Kind uint8

const (
	Added Kind = iota
	Modified
	Deleted
	Bookmark
)

func (k Kind) String() string { return [...]string{"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}[k] }

// Event of a watch. A Deleted event has the revision of the deletion.
type Event struct {
	Kind     Kind
	Key      string
	Value    string
	Revision int64
	// Batch counts what was delivered in one piece; for REST every event is
	// a piece of its own.
	Batch int
}

func (e Event) String() string { return fmt.Sprintf("%s %s %q@%d", e.Kind, e.Key, e.Value, e.Revision) }

// Watch is what one watcher saw.
type Watch struct {
	Name string
	// After is the revision it began after, Start the state there as far as
	// its selection shows it.
	After  int64
	Start  []Version
	Events []Event
	// Whole is set for streams that promise whole revisions per batch.
	Whole bool
	// Until is the revision it is known to be complete to.
	Until int64
}

// Changes are its events but for bookmarks.
func (w *Watch) Changes() []Event {
	return slices.DeleteFunc(slices.Clone(w.Events), func(e Event) bool { return e.Kind == Bookmark })
}

// state of objects by key.
type state map[string]Version

func stateOf(vs []Version) state {
	s := state{}
	for _, v := range vs {
		s[v.Key] = v
	}
	return s
}

func (s state) apply(e Event) {
	if e.Kind == Deleted {
		delete(s, e.Key)
		return
	}
	s[e.Key] = Version{e.Key, e.Value, e.Revision}
}

// differ tells the first difference between two states.
func differ(got, want state) error {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[k]; !ok {
			return fmt.Errorf("%s is missing, want %q@%d", k, want[k].Value, want[k].Revision)
		} else if g != want[k] {
			return fmt.Errorf("%s is %q@%d, want %q@%d", k, g.Value, g.Revision, want[k].Value, want[k].Revision)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			return fmt.Errorf("%s is there, %q@%d, and should not", k, got[k].Value, got[k].Revision)
		}
	}
	return nil
}
