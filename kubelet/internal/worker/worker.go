package worker

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/status"
)

// stage of a pod's life on this node. It only ever grows.
type stage int

const (
	fresh   stage = iota // nothing decided
	living               // admitted
	ending               // containers are being stopped for good
	ended                // they have stopped; volumes are going
	cleared              // nothing of the pod is in use
)

// Worker is one pod's.
type Worker struct {
	p   *Pods
	o   *Options
	uid types.UID
	key runtime.Key
	log *zap.Logger

	wake chan struct{} // holds at most one

	mu sync.Mutex
	// guarded by mu
	pod       *corev1.Pod // as it should be
	removed   bool
	verdict   *status.Verdict
	grace     *int64        // in seconds, overrides the pod's
	due       time.Time     // by when a pod that is being ended should have
	stopped   chan struct{} // closed by stopOnce once the containers have ended
	gone      chan struct{} // closed by goneOnce once nothing of the pod is in use
	purging   chan struct{} // what is left is to be removed; closed and nil once it is
	dirty     bool          // the runtime has news
	hurry     bool          // waiting for a failure's pause is over
	free      []string      // containers for which something has changed that they need to start
	cancel    context.CancelFunc
	observed  *runtime.Pod
	last      *corev1.PodStatus
	at        stage
	waits     bool       // for resources that it asks for
	reserved  bool       // it is not admitted yet, and room is being made for it
	allocated allocation // also owned by run: only it writes
	// What is made of the above, and of which of it.
	givenPod, givenOf *corev1.Pod
	merged, mergedOf  *corev1.Pod
	mergedWith        *corev1.PodStatus

	orphan   bool
	stopOnce sync.Once
	goneOnce sync.Once

	// Owned by run.
	begun    time.Time
	backoff  map[string]plan.Backoff
	before   map[string]plan.Backoff // the last plan
	waiting  map[string]status.Waiting
	held     map[string]time.Time // containers that are not started before, after a failure of theirs
	paused   time.Time            // nothing is done before this, after a failure of the pod
	failures int
	kill     *killing
	reported bool           // that the pod runs
	told     bool           // that it does not end in its time
	resize   *status.Resize // under way
	pending  *status.Resize // can't be done yet
	mounted  time.Time
	again    map[string]bool // containers that were ended for their resources only
	written  allocation      // on disk, as far as this kubelet knows
	grouped  *corev1.Pod     // whose group is as it asks
	// whole is what the pod as a whole has in force.
	whole *corev1.ResourceRequirements
}

func newWorker(p *Pods, pod *corev1.Pod) *Worker {
	w := &Worker{
		p: p, o: &p.o, uid: pod.UID, key: runtime.KeyOf(pod), pod: pod, wake: make(chan struct{}, 1), stopped: make(chan struct{}), gone: make(chan struct{}),
		log:     p.o.Log.With(zap.String("namespace", pod.Namespace), zap.String("name", pod.Name), zap.String("uid", string(pod.UID))),
		backoff: map[string]plan.Backoff{}, waiting: map[string]status.Waiting{}, held: map[string]time.Time{}, again: map[string]bool{}, dirty: true, begun: now(),
	}
	w.expect()
	return w
}

func (w *Worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// update says what the pod should be now.
func (w *Worker) update(pod *corev1.Pod) {
	w.mu.Lock()
	w.free = append(w.free, changed(w.pod, pod)...)
	w.pod, w.removed, w.hurry = pod, false, true
	w.expect()
	if pod.DeletionTimestamp != nil && w.cancel != nil {
		w.cancel() // whatever is being started isn't wanted any more
	}
	w.mu.Unlock()
	if w.o.Watched != nil {
		w.o.Watched(pod)
	}
	w.poke()
}

func (w *Worker) remove() {
	w.mu.Lock()
	w.removed = true
	w.expect()
	if w.cancel != nil {
		w.cancel()
	}
	w.mu.Unlock()
	w.poke()
}

// evict ends the pod, and gives what is closed once it has ended. It is false
// for one that has: what became of it stays so.
func (w *Worker) evict(v status.Verdict, grace *int64) (stopped <-chan struct{}, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at >= ended {
		return nil, false
	}
	if w.verdict == nil {
		w.verdict, w.grace = &v, grace
		w.expect()
		if w.cancel != nil {
			w.cancel()
		}
		w.poke()
	} else if grace != nil && graceOf(w.pod, grace, nil, "") < graceOf(w.pod, w.grace, nil, "") {
		w.grace = grace // why it ends stays as it was
		w.expect()
		w.poke()
	}
	return w.stopped, true
}

func (w *Worker) news() {
	w.stale()
	w.poke()
}

// stale lets the next round ask the runtime.
func (w *Worker) stale() {
	w.mu.Lock()
	w.dirty = true
	w.mu.Unlock()
}

func (w *Worker) retryNow() {
	w.mu.Lock()
	w.hurry = true
	w.mu.Unlock()
	w.poke()
}

func (w *Worker) retry(concerned func(*corev1.Pod) []string) {
	w.mu.Lock()
	pod := w.pod
	w.mu.Unlock()
	names := concerned(pod)
	w.mu.Lock()
	w.free = append(w.free, names...)
	w.mu.Unlock()
	w.retryNow()
}

func (w *Worker) seen() *runtime.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.observed
}

// withStatus is the pod with its newest status, nil for orphans.
func (w *Worker) withStatus() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.orphan {
		return nil
	}
	given := w.given()
	if w.last == nil {
		return given
	}
	if w.merged == nil || w.mergedOf != given || w.mergedWith != w.last {
		pod := *given // shallow: both halves are shared and read-only
		pod.Status = *w.last
		w.merged, w.mergedOf, w.mergedWith = &pod, given, w.last
	}
	return w.merged
}

// given is the pod with what it was given in the place of what it asks for.
// It needs the lock.
func (w *Worker) given() *corev1.Pod {
	if w.givenOf != w.pod {
		w.givenPod, w.givenOf = w.allocated.of(w.pod), w.pod
	}
	return w.givenPod
}

// give says what the pod is given.
func (w *Worker) give(a allocation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.allocated, w.givenOf = a, nil
}

// covered reports whether a pod was given what it asks for.
func (w *Worker) covered(pod *corev1.Pod) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if pod == w.pod {
		return w.given() == pod
	}
	return w.allocated.covers(pod)
}

// active reports whether the pod uses, or will use, resources.
func (w *Worker) active() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at < ended && !(w.pod.Status.Phase == corev1.PodFailed || w.pod.Status.Phase == corev1.PodSucceeded)
}

func (w *Worker) counts() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reserved || uses(w.at, w.pod)
}

// view is what one round works with.
type view struct {
	pod     *corev1.Pod
	removed bool
	verdict *status.Verdict
	grace   *int64
}

// next is what a pod is brought to now: what has been over stays over.
func (v view) next(at stage) stage {
	switch {
	case at >= ended:
		return ended
	case at == ending || v.pod.DeletionTimestamp != nil || v.removed || v.verdict != nil:
		return ending
	}
	return living
}

// first is the stage of a pod that this kubelet sees for the first time; fresh
// is one that has to be admitted. What runs already was admitted before.
func (v view) first(seen *runtime.Pod) stage {
	switch {
	case v.pod.Status.Phase == corev1.PodFailed || v.pod.Status.Phase == corev1.PodSucceeded:
		return ending
	case v.removed || v.pod.DeletionTimestamp != nil || v.verdict != nil || seen != nil && len(seen.Containers) > 0:
		return living
	}
	return fresh
}

func (w *Worker) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer w.purged()
	for {
		select {
		case <-w.wake:
		case <-timer.C:
		case <-ctx.Done():
			w.halt()
			return
		}
		began := now()
		next := w.round(ctx)
		w.worked(began)
		if w.stageIs(cleared) && w.isRemoved() {
			w.p.done(w)
			return
		}
		if next.IsZero() {
			timer.Stop()
			continue
		}
		timer.Reset(max(next.Sub(now()), time.Millisecond))
	}
}

func (w *Worker) isRemoved() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.removed
}

func (w *Worker) stageIs(s stage) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at == s
}

func (w *Worker) advance(s stage) {
	w.mu.Lock()
	w.at = max(w.at, s)
	w.expect()
	w.mu.Unlock()
}

// round does what can be done now and says when to come again at the latest.
func (w *Worker) round(ctx context.Context) time.Time {
	v, dirty, live, cancel := w.take(ctx)
	defer cancel()
	late := w.overdue(v)
	if dirty && w.mayWait() {
		return late
	}
	if dirty {
		if err := w.observe(ctx, v); err != nil {
			if ctx.Err() == nil {
				w.log.Debug("the runtime can't be asked about the pod", zap.Error(err))
				w.stale() // and not news: those would be looked at at once
			}
			return now().Add(time.Second)
		}
	}
	if w.stageIs(fresh) {
		if again := w.admitted(v); !again.IsZero() {
			return again
		}
		given := asked(v.pod)
		if seen := w.seen(); seen != nil && len(seen.Containers) > 0 {
			given = remembered(v.pod, w.readAllocation())
		}
		w.give(given)
	}
	w.mu.Lock()
	at := w.at
	w.mu.Unlock()
	switch v.next(at) {
	case ended:
		return w.after(ctx, v)
	case ending:
		return earlier(w.end(ctx, v), late)
	}
	v.pod = w.allocate(v.pod)
	next := w.live(live, v)
	w.purgeEarlier(ctx, v)
	return next
}

// worked counts a round by what it was for.
func (w *Worker) worked(began time.Time) {
	if w.o.Worked == nil {
		return
	}
	w.mu.Lock()
	at := w.at
	w.mu.Unlock()
	what := "sync"
	switch {
	case at >= ending:
		what = "kill"
	case !w.reported:
		what = "create"
	}
	w.o.Worked(what, now().Sub(began))
}

// take gives what the round works with. Its second context ends when the pod
// is no longer wanted.
func (w *Worker) take(ctx context.Context) (view, bool, context.Context, context.CancelFunc) {
	live, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	v := view{pod: w.pod, removed: w.removed, verdict: w.verdict, grace: w.grace}
	dirty := w.dirty
	w.dirty = false
	if w.hurry {
		w.hurry, w.paused = false, time.Time{}
	}
	for _, name := range w.free {
		delete(w.held, name)
	}
	w.free = nil
	w.cancel = cancel
	return v, dirty, live, cancel
}

// mayWait reports whether news can wait for the end of a killing under way,
// which is itself news: with a single container nothing else can be learned.
// Somebody who has less time than the killing is not made to wait.
func (w *Worker) mayWait() bool {
	if w.kill == nil {
		return false
	}
	select {
	case <-w.kill.done:
		return false
	default:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.observed == nil || len(w.observed.Containers) > 1 || graceOf(w.pod, w.grace, nil, "") < w.kill.grace {
		return false
	}
	w.dirty = true
	return true
}

func (w *Worker) observe(ctx context.Context, v view) error {
	if w.seen() == nil && !w.orphan && w.o.Lacks != nil && w.o.Lacks(w.uid) {
		w.see(&runtime.Pod{UID: w.uid, Key: w.key})
		return nil
	}
	o, err := w.o.Runtime.Observe(ctx, w.uid, w.seen())
	if err != nil {
		return err
	}
	w.see(o)
	if w.orphan {
		w.recover(v.pod, o)
	}
	return nil
}

func (w *Worker) see(o *runtime.Pod) {
	w.mu.Lock()
	w.observed = o
	w.mu.Unlock()
}

// recover makes up the containers of a pod of which only the runtime knows.
func (w *Worker) recover(pod *corev1.Pod, o *runtime.Pod) {
	made := pod.DeepCopy()
	made.Spec.Containers = nil
	for _, c := range o.Containers {
		made.Spec.Containers = append(made.Spec.Containers, corev1.Container{Name: c.Name})
		if c.Grace > 0 {
			grace := c.Grace
			made.Spec.TerminationGracePeriodSeconds = &grace
		}
	}
	w.mu.Lock()
	w.pod = made
	w.mu.Unlock()
}

// retryAdmit is how often a pod for which room is made looks for it even when
// nothing is known to have become free.
const retryAdmit = 10 * time.Second

// admitted decides once whether the pod may live here, and gives when to ask
// again: a critical one may have to wait for others to go, and that not for ever.
// Zero is that it is decided.
func (w *Worker) admitted(v view) (again time.Time) {
	if s := v.first(w.seen()); s != fresh {
		w.reserve(false)
		w.advance(s)
		return time.Time{}
	}
	w.p.admit.Lock()
	defer w.p.admit.Unlock()
	if w.o.Admit == nil {
		w.advance(living)
		return time.Time{}
	}
	others, going := w.others()
	d := w.o.Admit(v.pod, others, going)
	switch {
	case d.Wait:
		if waited := w.reserve(true); !waited {
			w.log.Info("a critical pod waits for others to end", zap.Strings("others", awaited(others, going, d.Victims)))
		}
		w.preempt(d)
		return earlier(now().Add(retryAdmit), w.p.nextDue())
	case d.Refusal != nil:
		w.refuse(v, d.Refusal)
	default:
		w.advance(living)
	}
	if waited := w.reserve(false); waited && d.Refusal != nil {
		w.p.freed(w)
	}
	return time.Time{}
}

// refuse ends a pod that never began.
func (w *Worker) refuse(v view, r *Refusal) {
	if w.o.Rejected != nil {
		w.o.Rejected(r.Reason)
	}
	w.o.Events(v.pod, "", corev1.EventTypeWarning, r.Reason, r.Message)
	w.mu.Lock()
	w.verdict = &status.Verdict{Phase: corev1.PodFailed, Reason: r.Reason, Message: "Pod was rejected: " + r.Message, Rejected: true}
	w.at = ended
	w.mu.Unlock()
	w.stopOnce.Do(func() { close(w.stopped) }) // who evicts it meanwhile waits for that
	w.report(v)
}

// reserve keeps the room that others make from those who come later, and lets
// the pod be looked at again when some has become free. It reports whether it was
// so before.
func (w *Worker) reserve(yes bool) (before bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, w.reserved, w.waits = w.reserved, yes, yes
	return before
}

// preempt ends pods to make room. They have the time to end that they ask for.
func (w *Worker) preempt(d Decision) {
	const reason, message = "Preempting", "Preempted in order to admit critical pod"
	for _, victim := range d.Victims {
		if _, ok := w.p.Evict(victim.UID, status.Verdict{
			Phase: corev1.PodFailed, Reason: reason, Message: message,
			Disrupted: corev1.PodReasonTerminationByKubelet, DisruptedMessage: "Pod was preempted by Kubelet to accommodate a critical pod.",
		}, nil); !ok {
			continue // it has ended meanwhile
		}
		w.log.Info("ending a pod to make room for a critical one", zap.String("victim", victim.Namespace+"/"+victim.Name), zap.String("resource", d.Short))
		w.o.Events(victim, "", corev1.EventTypeWarning, reason, message)
		if w.o.Preempted != nil {
			w.o.Preempted(d.Short)
		}
	}
}
