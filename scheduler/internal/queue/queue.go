// Package queue holds the pods that wait to be scheduled: active ones in
// order, ones that pause after a failure, ones that wait for an event that
// may help, and gated ones.
//
// A Queue belongs to the goroutine that schedules. Time is a parameter.
package queue

import (
	"container/heap"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// State is where a pod waits.
type State int8

// The states. InFlight pods have been popped.
const (
	InFlight State = iota
	Active
	Backoff
	Unschedulable
	Gated
)

var states = [...]string{"inflight", "active", "backoff", "unschedulable", "gated"}

func (s State) String() string { return states[s] }

// Options of a queue.
type Options struct {
	// InitialBackoff and MaxBackoff after a failed attempt.
	InitialBackoff, MaxBackoff time.Duration
	// MaxUnschedulable is how long a pod waits for an event at most.
	MaxUnschedulable time.Duration
	// Moved is told of pods that enter a state, and why.
	Moved func(e *Entry, event string)
	// Hinted is told of some of the hints that plugins give: all would cost
	// more than the hints themselves.
	Hinted func(plugin, event string, hint framework.Hint, d time.Duration)
}

// Defaults of Kubernetes.
const (
	DefaultInitialBackoff   = time.Second
	DefaultMaxBackoff       = 10 * time.Second
	DefaultMaxUnschedulable = 5 * time.Minute
)

// Entry is a waiting pod.
type Entry struct {
	framework.Queued
	Profile *framework.Profile
	// Nominated is the node the pod waits for room on, or "".
	Nominated string
	// Newest is a version of the pod that came while it was being bound.
	Newest   *corev1.Pod
	Attempts int
	// First is when the first attempt was made, Ready when the pod could have
	// been tried: gates have gone by then.
	First, Ready time.Time
	// Rejected by these plugins; Pending by those that wait for an event.
	Rejected, Pending map[string]bool
	GatedBy           string
	// Flushed pods are tried again for they have waited long, not for an event.
	Flushed bool

	number   int // in the order of Add
	state    State
	at       int // in a heap
	rejected int // attempts that ended in a verdict, for the backoff
	errors   int // attempts in a row that ended in an error
	since    time.Time
	until    time.Time
	failed   bool // the pause is for an error
}

// State of the entry.
func (e *Entry) State() State { return e.state }

// Queue is all waiting pods.
type Queue struct {
	o       Options
	entries map[types.UID]*Entry
	last    int
	active  ordered
	pauses  [2]paused            // after verdicts, after errors
	waiting map[types.UID]*Entry // unschedulable
	gated   map[types.UID]*Entry
	gatedBy map[plugin]int
	// rejectedBy indexes waiting by profile and plugin.
	rejectedBy map[plugin]map[*Entry]bool
	hints      map[framework.Object][]hint
	asked      uint // hints
	wildcards  map[plugin]bool
}

// plugin of a profile.
type plugin struct{ profile, name string }

type hint struct {
	plugin plugin
	framework.EventHint
}

// New makes a queue for pods of some profiles.
func New(profiles []*framework.Profile, o Options) *Queue {
	setDefault(&o.InitialBackoff, DefaultInitialBackoff)
	setDefault(&o.MaxBackoff, DefaultMaxBackoff)
	setDefault(&o.MaxUnschedulable, DefaultMaxUnschedulable)
	if o.Moved == nil {
		o.Moved = func(*Entry, string) {}
	}
	q := &Queue{
		o: o, entries: map[types.UID]*Entry{}, waiting: map[types.UID]*Entry{}, gated: map[types.UID]*Entry{}, gatedBy: map[plugin]int{},
		rejectedBy: map[plugin]map[*Entry]bool{}, hints: map[framework.Object][]hint{}, wildcards: map[plugin]bool{},
	}
	for _, p := range profiles {
		less := p.QueueSort.Less // the same in all profiles
		q.active.less, q.pauses[0].less, q.pauses[1].less = less, less, less
		for _, e := range p.Enqueue {
			for _, h := range e.Events() {
				q.hints[h.Object] = append(q.hints[h.Object], hint{plugin{p.Name, e.Name()}, h})
			}
		}
		q.wildcards[plugin{p.Name, nobody}] = true
		for name := range p.Wildcard {
			q.wildcards[plugin{p.Name, name}] = true
		}
	}
	return q
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// Len is the number of pods in a state.
func (q *Queue) Len(s State) int {
	switch s {
	case Active:
		return len(q.active.list)
	case Backoff:
		return len(q.pauses[0].list) + len(q.pauses[1].list)
	case Unschedulable:
		return len(q.waiting)
	case Gated:
		return len(q.gated)
	}
	return len(q.entries) - len(q.active.list) - q.Len(Backoff) - len(q.waiting) - len(q.gated)
}

// RejectedBy visits the plugins that pods wait for, those that gate them among
// these, with how many.
func (q *Queue) RejectedBy(yield func(profile, plugin string, pods int)) {
	for k, set := range q.rejectedBy {
		if k.name == nobody {
			continue
		}
		yield(k.profile, k.name, len(set)+q.gatedBy[k])
	}
	for k, n := range q.gatedBy {
		if q.rejectedBy[k] == nil {
			yield(k.profile, k.name, n)
		}
	}
}

// Get finds a waiting pod.
func (q *Queue) Get(uid types.UID) *Entry { return q.entries[uid] }

// All visits every entry, in no order.
func (q *Queue) All(yield func(*Entry) bool) {
	for _, e := range q.entries {
		if !yield(e) {
			return
		}
	}
}

// Add takes a new pod.
func (q *Queue) Add(p *cache.Pod, profile *framework.Profile, now time.Time) *Entry {
	q.last++
	e := &Entry{Queued: framework.Queued{Pod: p, Added: now}, Profile: profile, number: q.last}
	q.entries[p.UID] = e
	q.enqueue(e, "PodAdd")
	e.ready(now)
	return e
}

func (e *Entry) ready(now time.Time) {
	if e.state == Active && e.Ready.IsZero() {
		e.Ready = now
	}
}

// Update takes a new version of a waiting pod. event says what is new.
func (q *Queue) Update(c *cache.Cluster, p *cache.Pod, event *framework.Event, now time.Time) {
	e := q.entries[p.UID]
	e.Pod = p
	switch e.state {
	case Gated:
		q.take(e)
		q.enqueue(e, event.Label)
		e.ready(now)
	case Unschedulable:
		if q.helps(c, e, event) {
			q.wake(e, event.Label, now)
		}
	case Active:
		heap.Fix(&q.active, e.at)
	}
}

// helps asks the plugins that rejected a pod about an event. A pod that no
// plugin rejected is worth another try.
func (q *Queue) helps(c *cache.Cluster, e *Entry, event *framework.Event) bool {
	if len(e.Rejected) == 0 {
		return true
	}
	for name := range e.Rejected {
		if q.wildcards[plugin{e.Profile.Name, name}] {
			return true
		}
	}
	for _, h := range q.hints[event.Object] {
		if h.plugin.profile == e.Profile.Name && e.Rejected[h.plugin.name] && h.Action&event.Action != 0 &&
			q.hint(&h, c, e.Pod, event) == framework.Queue {
			return true
		}
	}
	return false
}

// Delete forgets a pod and gives its entry, nil when there is none.
func (q *Queue) Delete(uid types.UID) *Entry {
	e := q.entries[uid]
	if e == nil {
		return nil
	}
	q.take(e)
	delete(q.entries, uid)
	return e
}

// Pop gives the pod to schedule next, nil when there is none. A pause that is
// not for an error may end early when nothing else is to be done.
func (q *Queue) Pop(now time.Time) *Entry {
	q.flushBackoff(now)
	var e *Entry
	switch {
	case len(q.active.list) > 0:
		e = q.active.list[0]
	case len(q.pauses[0].list) > 0:
		e = q.pauses[0].list[0]
	default:
		return nil
	}
	q.take(e)
	e.state = InFlight
	e.Attempts++
	if e.First.IsZero() {
		e.First = now
	}
	return e
}

// Reject puts a popped pod aside until an event helps.
func (q *Queue) Reject(e *Entry, plugins, pending map[string]bool, now time.Time) {
	if q.entries[e.Pod.UID] != e {
		return // deleted meanwhile
	}
	e.Rejected, e.Pending, e.Flushed = plugins, pending, false
	e.rejected++
	e.errors = 0
	e.since, e.until, e.failed = now, now.Add(q.pause(e.rejected)), false
	e.Added = now // behind those who wait for their turn already
	e.state = Unschedulable
	q.waiting[e.Pod.UID] = e
	q.index(e)
	q.o.Moved(e, "ScheduleAttemptFailure")
}

// nobody stands for the plugin of pods that no plugin rejected, because there
// were no nodes for example: any event may help them.
const nobody = ""

func (q *Queue) index(e *Entry) {
	add := func(name string) {
		k := plugin{e.Profile.Name, name}
		if q.rejectedBy[k] == nil {
			q.rejectedBy[k] = map[*Entry]bool{}
		}
		q.rejectedBy[k][e] = true
	}
	for name := range e.Rejected {
		add(name)
	}
	if len(e.Rejected) == 0 {
		add(nobody)
	}
}

// Fail lets a popped pod pause after an error.
func (q *Queue) Fail(e *Entry, now time.Time) {
	if q.entries[e.Pod.UID] != e {
		return
	}
	e.Rejected, e.Pending = nil, nil
	e.errors++
	e.since, e.until, e.failed = now, now.Add(q.pause(e.errors)), true
	e.Added = now
	q.put(e, Backoff, "ScheduleAttemptFailure")
}

// Return puts a popped pod back whose attempt was broken off: it is no fault
// of the pod, and nothing to pause for.
func (q *Queue) Return(e *Entry) {
	if q.entries[e.Pod.UID] == e {
		q.enqueue(e, "ScheduleAttemptFailure")
	}
}

func (q *Queue) pause(failures int) time.Duration {
	d := q.o.InitialBackoff
	for i := 1; i < failures; i++ {
		if d *= 2; d >= q.o.MaxBackoff {
			break
		}
	}
	return min(d, q.o.MaxBackoff)
}

// Event wakes the pods that an event may help.
func (q *Queue) Event(c *cache.Cluster, event *framework.Event, now time.Time) {
	if len(q.waiting) == 0 {
		return
	}
	var woken []*Entry
	for _, h := range q.hints[event.Object] {
		if h.Action&event.Action == 0 {
			continue
		}
		for e := range q.rejectedBy[h.plugin] {
			if e.state == Unschedulable && q.hint(&h, c, e.Pod, event) == framework.Queue {
				woken = append(woken, e)
			}
		}
	}
	for k := range q.wildcards {
		for e := range q.rejectedBy[k] {
			woken = append(woken, e)
		}
	}
	slices.SortFunc(woken, func(a, b *Entry) int { return a.number - b.number })
	for _, e := range woken {
		if e.state == Unschedulable {
			q.wake(e, event.Label, now)
		}
	}
}

// sampleEvery so many hints, one is timed.
const sampleEvery = 16

// hint asks a plugin about an event.
func (q *Queue) hint(h *hint, c *cache.Cluster, p *cache.Pod, event *framework.Event) framework.Hint {
	if h.Hint == nil {
		return framework.Queue
	}
	if q.asked++; q.o.Hinted == nil || q.asked%sampleEvery != 1 {
		return h.Hint(c, p, event)
	}
	began := time.Now()
	said := h.Hint(c, p, event)
	q.o.Hinted(h.plugin.name, event.Label, said, time.Since(began))
	return said
}

// Wake moves all pods that wait for an event: nobody knows what has changed.
func (q *Queue) Wake(event string, now time.Time) {
	for _, e := range q.inOrder() {
		q.wake(e, event, now)
	}
}

// inOrder is the pods that wait for an event, oldest first.
func (q *Queue) inOrder() []*Entry {
	return slices.SortedFunc(maps.Values(q.waiting), func(a, b *Entry) int { return a.number - b.number })
}

// Activate moves one pod to the active queue at once.
func (q *Queue) Activate(uid types.UID) {
	if e := q.entries[uid]; e != nil && (e.state == Unschedulable || e.state == Backoff) {
		q.take(e)
		q.enqueue(e, "ForceActivate")
	}
}

func (q *Queue) wake(e *Entry, event string, now time.Time) {
	q.take(e)
	if len(e.Pending) == 0 && e.until.After(now) {
		q.put(e, Backoff, event)
		return
	}
	q.enqueue(e, event)
}

// Flush moves pods whose pause or patience is over.
func (q *Queue) Flush(now time.Time) {
	q.flushBackoff(now)
	for _, e := range q.inOrder() {
		if now.Sub(e.since) > q.o.MaxUnschedulable {
			e.Flushed = true
			q.wake(e, "UnschedulableTimeout", now)
		}
	}
}

func (q *Queue) flushBackoff(now time.Time) {
	for i := range q.pauses {
		for h := &q.pauses[i]; len(h.list) > 0 && !h.list[0].until.After(now); {
			e := h.list[0]
			q.take(e)
			q.enqueue(e, "BackoffComplete")
		}
	}
}

// NextFlush is when a pause ends, zero when none does.
func (q *Queue) NextFlush() (at time.Time) {
	for i := range q.pauses {
		if h := q.pauses[i].list; len(h) > 0 && (at.IsZero() || h[0].until.Before(at)) {
			at = h[0].until
		}
	}
	return at
}

func (q *Queue) paused(e *Entry) *paused {
	if e.failed {
		return &q.pauses[1]
	}
	return &q.pauses[0]
}

// enqueue makes a pod active, unless a plugin gates it.
func (q *Queue) enqueue(e *Entry, event string) {
	e.GatedBy = ""
	for _, p := range e.Profile.PreEnqueue {
		if st := p.PreEnqueue(e.Pod); st != nil {
			e.GatedBy = p.Name()
			q.put(e, Gated, event)
			return
		}
	}
	q.put(e, Active, event)
}

func (q *Queue) put(e *Entry, s State, event string) {
	e.state = s
	switch s {
	case Active:
		heap.Push(&q.active, e)
	case Backoff:
		heap.Push(q.paused(e), e)
	case Gated:
		q.gated[e.Pod.UID] = e
		q.gatedBy[plugin{e.Profile.Name, e.GatedBy}]++
	}
	q.o.Moved(e, event)
}

// take removes an entry from where it waits.
func (q *Queue) take(e *Entry) {
	switch e.state {
	case Active:
		heap.Remove(&q.active, e.at)
	case Backoff:
		heap.Remove(q.paused(e), e.at)
	case Gated:
		delete(q.gated, e.Pod.UID)
		q.gatedBy[plugin{e.Profile.Name, e.GatedBy}]--
	case Unschedulable:
		delete(q.waiting, e.Pod.UID)
		for name := range e.Rejected {
			delete(q.rejectedBy[plugin{e.Profile.Name, name}], e)
		}
		delete(q.rejectedBy[plugin{e.Profile.Name, nobody}], e)
	}
	e.state = InFlight
}
