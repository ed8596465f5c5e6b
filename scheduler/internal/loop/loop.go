// Package loop is the scheduler at work: one goroutine that owns the picture
// of the cluster and the queue, takes in what the watches tell, decides about
// pods one by one, and hands the writes to others.
package loop

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/metrics"
	"xebec.dev/scheduler/internal/queue"
	"xebec.dev/scheduler/internal/schedule"
)

// Writer carries out decisions. done may be called on any goroutine.
type Writer interface {
	Bind(p *corev1.Pod, node string, done func(error))
	PatchStatus(p *corev1.Pod, patch []byte, done func(error))
	Delete(p *corev1.Pod, done func(error))
}

// Recorder records events about pods.
type Recorder interface {
	Record(p *corev1.Pod, scheduler, kind, reason, action, note string)
}

// Options of a loop.
type Options struct {
	Queue queue.Options
	// Lookup reads a pod from the API server: after a binding whose outcome
	// is not known.
	Lookup  func(ctx context.Context, namespace, name string) (*corev1.Pod, error)
	Metrics *metrics.Metrics
	Log     *zap.Logger
	Now     func() time.Time
	Seed    uint64
	// MaxBindings under way; 0 is a default.
	MaxBindings int
	// Extenders, or nil.
	Extenders Extenders
}

// Loop schedules. Everything but post and Run belongs to Run's goroutine.
type Loop struct {
	Cluster  *cache.Cluster
	Queue    *queue.Queue
	Schedule *schedule.Scheduler

	profiles map[string]*framework.Profile
	w        Writer
	rec      Recorder
	o        Options
	log      *zap.Logger
	now      func() time.Time

	// assumed pods, and the term of leadership in which they were.
	assumed  map[types.UID]uint
	bindings int // under way, or waiting for a status to be written
	decided  uint
	status   map[types.UID]*statusWrite
	leading  bool
	term     uint // of leadership: what one decided is not carried out in another
	unsynced int
	onSynced func()
	ctx      context.Context
	side     sync.WaitGroup // goroutines of waiting and pre-binding pods
	waiting  map[types.UID]*waitingPod

	mu     sync.Mutex
	inbox  []func() // guarded by mu
	signal chan struct{}
	ended  chan struct{} // closed when Run has returned
}

const maxBindings = 1024

// New makes a loop over profiles.
func New(c *cache.Cluster, profiles []*framework.Profile, w Writer, rec Recorder, o Options) *Loop {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBindings == 0 {
		o.MaxBindings = maxBindings
	}
	if o.Metrics == nil {
		o.Metrics = metrics.New()
	}
	l := &Loop{
		Cluster: c, Schedule: schedule.New(c, profiles, o.Seed), profiles: map[string]*framework.Profile{},
		w: w, rec: rec, o: o, log: o.Log, now: o.Now, assumed: map[types.UID]uint{}, status: map[types.UID]*statusWrite{},
		waiting: map[types.UID]*waitingPod{}, signal: make(chan struct{}, 1), ended: make(chan struct{}), ctx: context.Background(),
	}
	for _, p := range profiles {
		l.profiles[p.Name] = p
	}
	l.Schedule.Observer = o.Metrics
	o.Queue.Moved = func(e *queue.Entry, event string) { o.Metrics.Incoming(e.State().String(), event) }
	o.Queue.Hinted = func(plugin, event string, h framework.Hint, d time.Duration) {
		o.Metrics.Hinted(plugin, event, h.String(), d)
	}
	l.Queue = queue.New(profiles, o.Queue)
	if o.Extenders != nil {
		l.Schedule.Extended = func(p *cache.Pod) bool { return o.Extenders.Interested(p.Obj) }
		l.Schedule.Extend = func(p *cache.Pod, nodes []schedule.Candidate) ([]schedule.Candidate, map[string]*framework.Status, error) {
			return o.Extenders.Extend(l.ctx, p.Obj, nodes)
		}
	}
	return l
}

// Post lets f run on the loop's goroutine, in order.
func (l *Loop) Post(f func()) {
	l.mu.Lock()
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// Expect makes the loop wait for the initial objects of n feeds.
func (l *Loop) Expect(n int) { l.unsynced += n }

// Synced is told, on the loop's goroutine, that a feed is complete.
func (l *Loop) Synced() {
	if l.unsynced--; l.unsynced == 0 {
		l.log.Info("the cluster is known", zap.Int("nodes", l.Cluster.Len()), zap.Int("placed", l.Cluster.PlacedLen()), zap.Int("waiting", l.Queue.Len(queue.Active)))
		if l.onSynced != nil {
			l.onSynced()
		}
	}
}

// OnSynced, before Run, sets what is called when all feeds are complete.
func (l *Loop) OnSynced(f func()) { l.onSynced = f }

// LeadNoMore stops scheduling and returns once that is so: what was decided
// and not sent yet is given up.
func (l *Loop) LeadNoMore() {
	done := make(chan struct{})
	l.Post(func() {
		l.lead(false)
		close(done)
	})
	select {
	case <-done:
	case <-l.ended:
	}
}

// Lead starts scheduling; a replica that does not lead follows the
// cluster all the same.
func (l *Loop) Lead(leading bool) { l.Post(func() { l.lead(leading) }) }

func (l *Loop) lead(leading bool) {
	l.leading = leading
	if leading {
		return
	}
	l.term++
	for _, w := range l.waiting {
		w.decide(framework.NewStatus("", framework.Error, "leadership was lost"))
	}
}

// current reports whether what was decided in a term may still be carried out.
func (l *Loop) current(term uint) bool { return l.leading && term == l.term }

// turn bounds the pods scheduled before the inbox is looked at again.
const turn = 32

// flushEvery is how often pods that waited too long are looked for.
const flushEvery = 30 * time.Second

// Run works until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	l.ctx = ctx
	defer close(l.ended)
	defer l.side.Wait()
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		l.drain()
		busy := l.work()
		l.gauge()
		if busy {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		timer.Reset(l.sleep())
		select {
		case <-l.signal:
		case <-timer.C:
		case <-flush.C:
			l.Queue.Flush(l.now())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Step does what there is to do now, for tests and benchmarks; false when
// there was nothing.
func (l *Loop) Step() bool {
	drained, worked := l.drain(), l.work()
	l.mu.Lock()
	defer l.mu.Unlock()
	return drained || worked || len(l.inbox) > 0
}

func (l *Loop) drain() bool {
	l.mu.Lock()
	todo := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range todo {
		f()
	}
	return len(todo) > 0
}

// work schedules some pods and reports whether there may be more.
func (l *Loop) work() bool {
	if !l.leading || l.unsynced > 0 {
		return false
	}
	for range turn {
		if l.bindings >= l.o.MaxBindings {
			return false // a result will wake us
		}
		e := l.Queue.Pop(l.now())
		if e == nil {
			return false
		}
		l.one(e)
	}
	return true
}

// sleep is until the next pause of a pod ends.
func (l *Loop) sleep() time.Duration {
	next := l.Queue.NextFlush()
	if next.IsZero() || !l.leading || l.unsynced > 0 || l.bindings >= l.o.MaxBindings {
		return time.Hour
	}
	return max(next.Sub(l.now()), time.Millisecond)
}

func (l *Loop) gauge() {
	m := l.o.Metrics
	l.Schedule.Flush()
	m.SetPending(l.Queue.Len(queue.Active), l.Queue.Len(queue.Backoff), l.Queue.Len(queue.Unschedulable), l.Queue.Len(queue.Gated))
	l.Queue.RejectedBy(m.SetUnschedulable)
	m.SetCache(l.Cluster.Len(), l.Cluster.PlacedLen(), len(l.assumed))
}
