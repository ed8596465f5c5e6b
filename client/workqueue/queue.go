// Package workqueue holds keys that need work. A key is in the queue at most
// once and with one worker at most: added while being worked on, it comes
// again afterwards. Keys can be added after a delay, or after one that grows
// with each failure.
package workqueue

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Default limits of retries, as Kubernetes has them.
const (
	DefaultBaseDelay = 5 * time.Millisecond
	DefaultMaxDelay  = 1000 * time.Second
)

// Options of a queue; the zero value works.
type Options[K comparable] struct {
	// Flow, when set, groups keys (by namespace, by tenant): groups take
	// turns, so that one with very many keys does not starve the others.
	Flow func(K) string
	// BaseDelay and MaxDelay bound the pauses of AddRateLimited.
	BaseDelay, MaxDelay time.Duration
	Metrics             *Metrics
}

// Queue holds keys that need work. All methods are safe for use by many
// goroutines.
type Queue[K comparable] struct {
	o       Options[K]
	metrics *queueMetrics

	mu sync.Mutex
	// guarded by mu
	waiting  flows[K]
	dirty    map[K]time.Time // needs work since
	working  map[K]time.Time // is worked on since
	failures map[K]int
	delayed  delays[K]
	timer    *time.Timer
	closed   bool
	ready    chan struct{} // holds a token while something waits
	ended    chan struct{} // closed when closed and all work is done
	stopped  chan struct{} // closed when closed and nothing will come any more
}

// New makes a queue. Its name labels its metrics.
func New[K comparable](name string, o Options[K]) *Queue[K] {
	if o.BaseDelay <= 0 {
		o.BaseDelay = DefaultBaseDelay
	}
	if o.MaxDelay <= 0 {
		o.MaxDelay = DefaultMaxDelay
	}
	q := &Queue[K]{
		o: o, dirty: map[K]time.Time{}, working: map[K]time.Time{}, failures: map[K]int{},
		ready: make(chan struct{}, 1), ended: make(chan struct{}), stopped: make(chan struct{}),
	}
	q.delayed.at = map[K]*delay[K]{}
	q.metrics = o.Metrics.queue(name, q.inWork)
	return q
}

// Add says that a key needs work.
func (q *Queue[K]) Add(k K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(k)
}

// add needs the lock.
func (q *Queue[K]) add(k K) {
	if q.closed {
		return
	}
	if _, ok := q.dirty[k]; ok {
		return
	}
	q.metrics.added()
	q.dirty[k] = time.Now()
	if _, ok := q.working[k]; ok {
		return // comes again when Done
	}
	q.enqueue(k)
}

func (q *Queue[K]) enqueue(k K) {
	flow := ""
	if q.o.Flow != nil {
		flow = q.o.Flow(k)
	}
	q.waiting.push(flow, k)
	q.metrics.depth(q.waiting.size)
	q.signal()
}

// signal needs the lock.
func (q *Queue[K]) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// AddAfter adds a key once d has passed. Of several such wishes for a key the
// earliest counts.
func (q *Queue[K]) AddAfter(k K, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.metrics.retried()
	if d <= 0 {
		q.add(k)
		return
	}
	if q.delayed.put(k, time.Now().Add(d)) {
		q.arm()
	}
}

// AddRateLimited adds a key after a pause that doubles with each call until
// Forget.
func (q *Queue[K]) AddRateLimited(k K) {
	q.mu.Lock()
	n := q.failures[k]
	q.failures[k] = n + 1
	q.mu.Unlock()
	q.AddAfter(k, q.pause(n))
}

// pause after n failures.
func (q *Queue[K]) pause(n int) time.Duration {
	d := q.o.BaseDelay
	for range n {
		if d >= q.o.MaxDelay/2 {
			return q.o.MaxDelay
		}
		d *= 2
	}
	return min(d, q.o.MaxDelay)
}

// Forget ends the count of a key's failures.
func (q *Queue[K]) Forget(k K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.failures, k)
}

// Failures counts the calls of AddRateLimited since Forget.
func (q *Queue[K]) Failures(k K) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failures[k]
}

// Len is the number of keys that wait for a worker.
func (q *Queue[K]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.size
}

// arm sets the timer for the earliest delayed key. It needs the lock.
func (q *Queue[K]) arm() {
	if len(q.delayed.heap) == 0 {
		return
	}
	d := time.Until(q.delayed.heap[0].at)
	if q.timer == nil {
		q.timer = time.AfterFunc(d, q.due)
		return
	}
	q.timer.Reset(d)
}

// due adds the keys whose delay has passed.
func (q *Queue[K]) due() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	now := time.Now()
	for len(q.delayed.heap) > 0 && !q.delayed.heap[0].at.After(now) {
		q.add(q.delayed.pop())
	}
	q.arm()
}

// Get waits for a key; ok is false when the queue is shut down or ctx ends.
// Done must follow.
func (q *Queue[K]) Get(ctx context.Context) (k K, ok bool) {
	for {
		if k, ok, closed := q.take(); ok || closed {
			return k, ok
		}
		select {
		case <-q.ready:
		case <-q.stopped:
		case <-ctx.Done():
			return k, false
		}
	}
}

func (q *Queue[K]) take() (k K, ok, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting.size == 0 {
		return k, false, q.closed && len(q.dirty) == 0
	}
	k = q.waiting.pop()
	if q.waiting.size > 0 {
		q.signal() // another worker's
	}
	now := time.Now()
	q.metrics.depth(q.waiting.size)
	q.metrics.waited(now.Sub(q.dirty[k]))
	delete(q.dirty, k)
	q.working[k] = now
	q.checkEnded()
	return k, true, false
}

// Done says that the work on a key from Get has ended, well or not.
func (q *Queue[K]) Done(k K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	began, ok := q.working[k]
	if !ok {
		return
	}
	q.metrics.worked(time.Since(began))
	delete(q.working, k)
	if _, again := q.dirty[k]; again {
		q.enqueue(k)
	}
	q.checkEnded()
}

// ShutDown stops the queue: nothing is added any more, workers get what
// waits and then nothing.
func (q *Queue[K]) ShutDown() {
	q.mu.Lock()
	first := !q.closed
	q.closed = true
	if q.timer != nil {
		q.timer.Stop()
	}
	q.checkEnded()
	q.mu.Unlock()
	if first {
		q.metrics.forget()
	}
}

// ShutDownWithDrain is ShutDown and waits until all keys have been worked on.
func (q *Queue[K]) ShutDownWithDrain(ctx context.Context) error {
	q.ShutDown()
	select {
	case <-q.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkEnded needs the lock.
func (q *Queue[K]) checkEnded() {
	if !q.closed || len(q.dirty) > 0 {
		return
	}
	closeOnce(q.stopped)
	if len(q.working) == 0 {
		closeOnce(q.ended)
	}
}

func closeOnce(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// inWork gives, in seconds, how long the keys being worked on have been so
// together, and the longest.
func (q *Queue[K]) inWork() (sum, longest float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, began := range q.working {
		d := time.Since(began).Seconds()
		sum += d
		longest = max(longest, d)
	}
	return sum, longest
}

// flows are the waiting keys: groups in turn, within a group by age.
type flows[K comparable] struct {
	byName map[string]*flow[K]
	turn   []*flow[K]
	size   int
}

type flow[K comparable] struct {
	name string
	keys []K
}

func (f *flows[K]) push(name string, k K) {
	if f.byName == nil {
		f.byName = map[string]*flow[K]{}
	}
	g := f.byName[name]
	if g == nil {
		g = &flow[K]{name: name}
		f.byName[name] = g
		f.turn = append(f.turn, g)
	}
	g.keys = append(g.keys, k)
	f.size++
}

func (f *flows[K]) pop() K {
	g := f.turn[0]
	k := g.keys[0]
	var none K
	g.keys[0] = none
	g.keys = g.keys[1:]
	f.size--
	if len(f.turn) > 1 {
		f.turn = f.turn[1:]
		if len(g.keys) > 0 {
			f.turn = append(f.turn, g)
		}
	} else if len(g.keys) == 0 {
		f.turn = f.turn[:0]
	}
	if len(g.keys) == 0 {
		delete(f.byName, g.name)
	}
	return k
}

// delays is a heap of keys by time, each at most once.
type delays[K comparable] struct {
	heap delayHeap[K]
	at   map[K]*delay[K]
}

type delay[K comparable] struct {
	key   K
	at    time.Time
	index int
}

// put reports whether the earliest time has changed.
func (d *delays[K]) put(k K, at time.Time) bool {
	have := d.at[k]
	switch {
	case have == nil:
		have = &delay[K]{key: k, at: at}
		d.at[k] = have
		heap.Push(&d.heap, have)
	case at.Before(have.at):
		have.at = at
		heap.Fix(&d.heap, have.index)
	default:
		return false
	}
	return have.index == 0
}

func (d *delays[K]) pop() K {
	e := heap.Pop(&d.heap).(*delay[K])
	delete(d.at, e.key)
	return e.key
}

type delayHeap[K comparable] []*delay[K]

func (h delayHeap[K]) Len() int           { return len(h) }
func (h delayHeap[K]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h delayHeap[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *delayHeap[K]) Push(x any) {
	e := x.(*delay[K])
	e.index = len(*h)
	*h = append(*h, e)
}
func (h *delayHeap[K]) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
