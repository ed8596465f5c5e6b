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
	mu   sync.Mutex
	told map[cache.Key]Told // guarded by mu
}

// Told is what was written of a service: when its pods last changed their
// readiness, in Unix nanoseconds. Each pod counts for itself: clocks of nodes
// differ, and many pods change within a second.
type Told map[types.UID]int64

// NewTriggers knows of nothing.
func NewTriggers() *Triggers { return &Triggers{told: map[cache.Key]Told{}} }

// Since is when the oldest change that is yet to be written began, zero when
// nobody knows; now is for Tell, once all is written. made reports whether the
// service has endpoints from before: those were written by an earlier process.
func (t *Triggers) Since(svc *corev1.Service, pods []*corev1.Pod, made bool) (began time.Time, now Told) {
	t.mu.Lock()
	told, known := t.told[cache.KeyOf(svc)]
	t.mu.Unlock()
	now = make(Told, len(pods))
	for _, p := range pods {
		c := pod.Condition(p, corev1.PodReady)
		if c == nil {
			continue
		}
		at := c.LastTransitionTime.UnixNano()
		now[p.UID] = at
		if known && at > told[p.UID] && (began.IsZero() || c.LastTransitionTime.Time.Before(began)) {
			began = c.LastTransitionTime.Time
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
