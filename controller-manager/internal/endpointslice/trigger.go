package endpointslice

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/pod"
)

// Triggers know which changes of services' endpoints were written already: an
// annotation says when what a write is about began, and proxies measure from
// there. A write about a pod that is gone has none.
type Triggers struct {
	now func() time.Time

	mu   sync.Mutex
	told map[cache.Key]Told // guarded by mu
}

// Told is what was written of a service.
type Told struct {
	// looked is when, to the second: so pods say when they were ready.
	looked time.Time
	// ready is when its pods last changed their readiness, in Unix
	// nanoseconds; 0 of pods that have not said. Each pod counts for itself:
	// clocks of nodes differ, and many pods change within a second.
	ready map[types.UID]int64
}

// news reports whether a pod's readiness is yet to be written. A pod that was
// ready when the service was looked at, and not one of its pods, has got the
// service's labels since: nobody knows when.
func (t Told) news(p *corev1.Pod, ready time.Time) bool {
	if told, seen := t.ready[p.UID]; seen {
		return ready.UnixNano() > told
	}
	return !ready.Before(t.looked)
}

// NewTriggers knows of nothing.
func NewTriggers() *Triggers { return &Triggers{now: time.Now, told: map[cache.Key]Told{}} }

// Since is when the oldest change that is yet to be written began, zero when
// nobody knows; now is for Tell, once all is written. made reports whether the
// service has endpoints from before: those were written by an earlier process.
func (t *Triggers) Since(svc *corev1.Service, pods []*corev1.Pod, made bool) (began time.Time, now Told) {
	t.mu.Lock()
	told, known := t.told[cache.KeyOf(svc)]
	t.mu.Unlock()
	now = Told{looked: t.now().Truncate(time.Second), ready: make(map[types.UID]int64, len(pods))}
	for _, p := range pods {
		c := pod.Condition(p, corev1.PodReady)
		if c == nil {
			now.ready[p.UID] = 0
			continue
		}
		at := c.LastTransitionTime.Time
		now.ready[p.UID] = at.UnixNano()
		if known && told.news(p, at) && (began.IsZero() || at.Before(began)) {
			began = at
		}
	}
	if !known && !made {
		began = svc.CreationTimestamp.Time // all waited for the service
	}
	return began, now
}

// Tell notes what has been written.
func (t *Triggers) Tell(key cache.Key, now Told) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told[key] = now
}

// Forget a service that is gone.
func (t *Triggers) Forget(key cache.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.told, key)
}
