// Package probe asks containers whether they have started, are alive and are
// ready. Each probe of each running container has a goroutine of its own,
// which lives as long as the container runs; results are kept by container id.
package probe

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Kind of a probe, as events name it.
type Kind string

// The kinds.
const (
	Liveness  Kind = "Liveness"
	Readiness Kind = "Readiness"
	Startup   Kind = "Startup"
)

// Result of a probe.
type Result string

// The results.
const (
	Success Result = "successful"
	Failure Result = "failed"
	// Unsure: the probe itself did not work; it counts for nothing.
	Unsure Result = "unknown"
)

// Target is a running container.
type Target struct {
	ID        string
	Container *corev1.Container
	Since     time.Time // when the container started
	IP        string    // of the pod
	// Adopted containers began before this kubelet did; Ready and Started are
	// what is known of those of which something is Told.
	Adopted, Told, Ready, Started bool
}

// Options of a manager.
type Options struct {
	Exec Execer
	// Changed is told that results of a pod are new. It must not block.
	Changed func(uid types.UID)
	// Event is told of failures.
	Event func(pod *corev1.Pod, container, kind, reason, message string)
	Count func(kind Kind, result Result, pod *corev1.Pod, container string)
	// Took is told how long each question took; it may be nil.
	Took func(kind Kind, pod *corev1.Pod, container string, took time.Duration)
	Log  *zap.Logger
}

// Manager keeps the probes.
type Manager struct {
	o Options

	mu   sync.Mutex
	pods map[types.UID]map[key]*prober // guarded by mu
	by   map[key]*prober               // guarded by mu
	ctx  context.Context               // guarded by mu
	work sync.WaitGroup
}

type key struct {
	id   string
	kind Kind
}

// New makes a manager.
func New(o Options) *Manager {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Manager{o: o, pods: map[types.UID]map[key]*prober{}, by: map[key]*prober{}}
}

// Run lets probes run until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	m.ctx = ctx
	for _, p := range m.by {
		m.start(p)
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	m.ctx = nil
	m.mu.Unlock()
	m.work.Wait()
	return ctx.Err()
}

// start needs the lock.
func (m *Manager) start(p *prober) {
	if m.ctx == nil || p.over {
		return
	}
	ctx, cancel := context.WithCancel(m.ctx)
	p.cancel = cancel
	m.work.Go(func() {
		defer cancel()
		p.run(ctx)
	})
}

// Sync makes the probes of a pod those of its running containers. An ending
// pod is only asked whether it is ready; what else was known of it stays so,
// or what has not started yet would count as ready on its way out.
func (m *Manager) Sync(pod *corev1.Pod, running []Target, ending bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := m.pods[pod.UID]
	want := map[key]*prober{}
	for i := range running {
		t := &running[i]
		for kind, spec := range specs(t.Container) {
			if spec == nil {
				continue
			}
			k := key{t.ID, kind}
			p := have[k]
			made := p == nil
			if made {
				p = m.prober(pod, t, kind, spec)
				m.by[k] = p
			}
			if ending && kind != Readiness {
				p.stop()
			} else if made {
				m.start(p)
			}
			want[k] = p
		}
	}
	for k, p := range have {
		if want[k] == nil {
			p.stop()
			delete(m.by, k)
		}
	}
	if len(want) == 0 {
		delete(m.pods, pod.UID)
		return
	}
	m.pods[pod.UID] = want
}

// Remove ends the probes of a pod.
func (m *Manager) Remove(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, p := range m.pods[uid] {
		p.stop()
		delete(m.by, k)
	}
	delete(m.pods, uid)
}

func specs(c *corev1.Container) map[Kind]*corev1.Probe {
	return map[Kind]*corev1.Probe{Liveness: c.LivenessProbe, Readiness: c.ReadinessProbe, Startup: c.StartupProbe}
}

func (m *Manager) prober(pod *corev1.Pod, t *Target, kind Kind, spec *corev1.Probe) *prober {
	p := &prober{m: m, pod: pod, target: *t, kind: kind, spec: spec, result: Failure, through: make(chan struct{})}
	switch {
	case kind == Liveness:
		p.result = Success
	case t.Told && kind == Readiness && t.Ready:
		p.result = Success
	case t.Told && kind == Startup && t.Started:
		p.result = Success
		close(p.through)
	case kind == Startup:
		p.result = Unsure
	}
	switch {
	case t.Told: // all pods of the node are: not all at once
		p.jitter = rand.N(period(spec))
	case t.Adopted: // a few are, and count as unready until they are asked
		p.jitter = rand.N(untold)
	}
	return p
}

// untold is the time over which the first questions to containers are spread
// of which nothing is known: static pods, whose statuses only the API has.
const untold = 100 * time.Millisecond

// awaitStarted waits until a container has started, as far as that is asked,
// and reports whether it has.
func (m *Manager) awaitStarted(ctx context.Context, id string) bool {
	m.mu.Lock()
	p := m.by[key{id, Startup}]
	m.mu.Unlock()
	if p == nil {
		return ctx.Err() == nil
	}
	select {
	case <-p.through:
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *Manager) get(id string, kind Kind) (Result, bool) {
	m.mu.Lock()
	p := m.by[key{id, kind}]
	m.mu.Unlock()
	if p == nil {
		return "", false
	}
	return p.get(), true
}

// Started reports whether a running container has started.
func (m *Manager) Started(id string) bool {
	r, probed := m.get(id, Startup)
	return !probed || r == Success
}

// Ready reports whether a running, started container is ready. One that is to
// be probed and is not yet is not: c is what the pod says of it, nil if
// nothing.
func (m *Manager) Ready(id string, c *corev1.Container) bool {
	r, probed := m.get(id, Readiness)
	if !probed {
		return c == nil || c.ReadinessProbe == nil
	}
	return r == Success
}

// Failed names the probe for which a container must be restarted: "liveness"
// or "startup".
func (m *Manager) Failed(id string) string {
	if r, _ := m.get(id, Startup); r == Failure {
		return "startup"
	}
	if r, _ := m.get(id, Liveness); r == Failure {
		return "liveness"
	}
	return ""
}
