package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/probe"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/status"
)

// Pods owns a worker for each pod.
type Pods struct {
	o Options

	mu      sync.Mutex
	workers map[types.UID]*Worker       // guarded by mu
	queued  map[runtime.Key]*corev1.Pod // guarded by mu: static pods whose predecessor is still there
	leaving map[types.UID]bool          // guarded by mu: pods whose worker is done, and which others are just forgetting
	running context.Context             // guarded by mu
	work    sync.WaitGroup
	admit   sync.Mutex // held while a pod is admitted: one after the other
}

// New makes Pods; nothing runs before Run.
func New(o Options) *Pods {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p := &Pods{o: o, workers: map[types.UID]*Worker{}, queued: map[runtime.Key]*corev1.Pod{}, leaving: map[types.UID]bool{}}
	return p
}

// SetProbes gives the probes, before Run: they in turn wake workers.
func (p *Pods) SetProbes(m *probe.Manager) { p.o.probes = m }

// Run lets the workers work until ctx ends. Containers go on without them.
func (p *Pods) Run(ctx context.Context) error {
	p.mu.Lock()
	p.running = ctx
	for _, w := range p.workers {
		p.start(w)
	}
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.running = nil
	p.mu.Unlock()
	p.work.Wait()
	return ctx.Err()
}

// start needs the lock.
func (p *Pods) start(w *Worker) {
	if p.running == nil {
		return
	}
	ctx := p.running
	p.work.Go(func() { w.run(ctx) })
}

// Update says what a pod should be.
func (p *Pods) Update(pod *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.workers[pod.UID]
	switch {
	case runtime.IsStatic(pod) && p.occupied(pod):
		p.queued[runtime.KeyOf(pod)] = pod
	case w != nil:
		w.update(pod)
	default:
		p.add(pod)
	}
}

// occupied reports whether a static pod's place is another's yet: one of its
// name, or itself as it was before its manifest was taken away, and has since
// been put back. What ends does so to the end. It needs the lock.
func (p *Pods) occupied(pod *corev1.Pod) bool {
	w := p.workers[pod.UID]
	return w != nil && w.isRemoved() || p.leaving[pod.UID] || p.predecessor(pod) != nil
}

// add needs the lock.
func (p *Pods) add(pod *corev1.Pod) *Worker {
	w := newWorker(p, pod)
	p.workers[pod.UID] = w
	if p.o.Watched != nil {
		p.o.Watched(pod)
	}
	p.start(w)
	w.poke()
	return w
}

// predecessor is a worker of a pod of the same name. It needs the lock.
func (p *Pods) predecessor(pod *corev1.Pod) *Worker {
	for uid, w := range p.workers {
		if uid != pod.UID && w.key == runtime.KeyOf(pod) {
			return w
		}
	}
	return nil
}

// Remove says that a pod should not be any more.
func (p *Pods) Remove(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, pod := range p.queued {
		if pod.UID == uid {
			delete(p.queued, k)
		}
	}
	if w := p.workers[uid]; w != nil {
		w.remove()
	}
}

// Observe says that the runtime has news about a pod.
func (p *Pods) Observe(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.workers[uid]; w != nil {
		w.news()
	}
}

// Wake lets a pod be looked at again; nothing about it changed in the runtime.
// Containers that could not be started still wait for their time.
func (p *Pods) Wake(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.workers[uid]; w != nil {
		w.retryNow()
	}
}

// Retry lets a pod be looked at again, and those containers be started at once
// that could not be: what they need has changed.
func (p *Pods) Retry(uid types.UID, concerned func(*corev1.Pod) []string) {
	p.mu.Lock()
	w := p.workers[uid]
	p.mu.Unlock()
	if w != nil {
		w.retry(concerned)
	}
}

// WakeAll lets every pod be looked at again, for what concerns them all.
func (p *Pods) WakeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		w.retryNow()
	}
}

// Orphan ends a pod that the runtime has and nobody wants: it was removed
// while no kubelet ran.
func (p *Pods) Orphan(uid types.UID, key runtime.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.workers[uid] != nil {
		return
	}
	p.o.Log.Info("ending a pod that nobody wants any more", zap.String("namespace", key.Namespace), zap.String("name", key.Name), zap.String("uid", string(uid)))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: uid}}
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	w := newWorker(p, pod)
	w.orphan, w.removed = true, true
	p.workers[uid] = w
	p.start(w)
	w.poke()
}

// Known reports whether a pod has a worker.
func (p *Pods) Known(uid types.UID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers[uid] != nil
}

// done is told by a worker that nothing of its pod is left.
func (p *Pods) done(w *Worker) {
	p.mu.Lock()
	delete(p.workers, w.uid)
	p.leaving[w.uid] = true
	p.mu.Unlock()
	p.o.Statuses.Forget(w.uid)
	if p.o.Forgotten != nil {
		p.o.Forgotten(w.uid, w.key)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.leaving, w.uid)
	if next := p.queued[w.key]; next != nil && !p.occupied(next) {
		delete(p.queued, w.key)
		p.add(next)
	}
}

// all are the workers, in no order.
func (p *Pods) all() []*Worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*Worker, 0, len(p.workers))
	for _, w := range p.workers {
		out = append(out, w)
	}
	return out
}

// List is every pod that should be here, with its newest status.
func (p *Pods) List() []*corev1.Pod {
	var out []*corev1.Pod
	for _, w := range p.all() {
		if pod := w.withStatus(); pod != nil {
			out = append(out, pod)
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Pod) int {
		if a.Namespace != b.Namespace {
			return compare(a.Namespace, b.Namespace)
		}
		return compare(a.Name, b.Name)
	})
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Find is a pod by name, and what the runtime has of it.
func (p *Pods) Find(namespace, name string) (*corev1.Pod, *runtime.Pod) {
	for _, w := range p.all() {
		if w.key == (runtime.Key{Namespace: namespace, Name: name}) {
			if pod := w.withStatus(); pod != nil {
				return pod, w.seen()
			}
		}
	}
	return nil, nil
}

// Knows reports whether a sandbox or container was seen in a state already.
func (p *Pods) Knows(uid types.UID, id string, state runtime.State) bool {
	return p.Observed(uid).Has(id, state)
}

// Observed is what the runtime was last seen to have of a pod.
func (p *Pods) Observed(uid types.UID) *runtime.Pod {
	p.mu.Lock()
	w := p.workers[uid]
	p.mu.Unlock()
	if w == nil {
		return nil
	}
	return w.seen()
}

// Active are the pods that use, or will use, the node's resources.
func (p *Pods) Active() []*corev1.Pod {
	var out []*corev1.Pod
	for _, w := range p.all() {
		if pod := w.withStatus(); pod != nil && w.active() {
			out = append(out, pod)
		}
	}
	return out
}

// Evict ends a pod for the node's sake. done is closed once its containers
// have ended; ok is false for one that is over, or that nobody knows.
func (p *Pods) Evict(uid types.UID, v status.Verdict, grace *int64) (done <-chan struct{}, ok bool) {
	p.mu.Lock()
	w := p.workers[uid]
	p.mu.Unlock()
	if w == nil {
		return nil, false
	}
	return w.evict(v, grace)
}

// Clear is Evict, but done is closed only once the pod's volumes and its cgroup
// are gone, too: what it had is free by then.
func (p *Pods) Clear(uid types.UID, v status.Verdict, grace *int64) (done <-chan struct{}, ok bool) {
	p.mu.Lock()
	w := p.workers[uid]
	p.mu.Unlock()
	if w == nil {
		return nil, false
	}
	_, ok = w.evict(v, grace)
	return w.gone, ok
}

// now is a variable of the package so that one bubble of tests has one clock.
var now = time.Now
