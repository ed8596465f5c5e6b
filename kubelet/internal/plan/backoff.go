package plan

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/runtime"
)

// Limits of the pauses between restarts.
type Limits struct{ First, Max time.Duration }

// DefaultLimits are Kubernetes'.
var DefaultLimits = Limits{First: 10 * time.Second, Max: 5 * time.Minute}

// StaticLimits are those of static pods: everything in a cluster waits for a
// control plane that was killed twice, and a manifest that can't work is a rare
// thing. They are the shorter pauses that Kubernetes has behind the gate
// ReduceDefaultCrashLoopBackOffDecay.
var StaticLimits = Limits{First: time.Second, Max: time.Minute}

// For are the limits of a pod.
func (l Limits) For(static bool) Limits {
	if static {
		return Limits{First: min(StaticLimits.First, l.First), Max: min(StaticLimits.Max, l.Max)}
	}
	return l
}

// Backoff is the pause before a container's next restart. A container's first
// restart does not wait.
type Backoff struct {
	Hash    string
	Delay   time.Duration
	Updated time.Time
}

// Next is the backoff once a container was started again.
func (b Backoff) Next(hash string, l Limits, now time.Time) Backoff {
	if b.Hash != hash || b.expired(l, now) {
		return Backoff{Hash: hash, Delay: min(l.First, l.Max), Updated: now}
	}
	return Backoff{Hash: hash, Delay: min(2*b.Delay, l.Max), Updated: now}
}

// expired: a container that kept running for long begins anew.
func (b Backoff) expired(l Limits, now time.Time) bool {
	return b.Delay == 0 || now.Sub(b.Updated) > 2*max(l.Max, l.First)
}

// backoff decides whether a container that ended must wait, and counts the
// restart if not.
func (p *planner) backoff(c *corev1.Container, last *runtime.Container) (Wait, bool) {
	l := p.in.Limits
	if l.Max == 0 {
		l = DefaultLimits
	}
	b, hash := p.out.Backoff[c.Name], runtime.ContainerHash(c)
	until := last.Finished.Add(b.Delay)
	if last.Finished.After(p.in.Now) { // the clock was set back: nobody waits for it to come round again
		until = time.Time{}
	}
	if b.Hash == hash && !b.expired(l, p.in.Now) && until.After(p.in.Now) {
		return Wait{Name: c.Name, ID: last.ID, Until: until, Delay: b.Delay}, true
	}
	p.out.Backoff[c.Name] = b.Next(hash, l, p.in.Now)
	return Wait{}, false
}
