package eviction

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/config"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/status"
)

// Times of the manager.
const (
	every = 10 * time.Second
	// again is how soon to look after a pod was evicted.
	again = time.Second
	// patience with a pod's end before the node is looked at again.
	patience = 30 * time.Second
)

// Options of a manager.
type Options struct {
	Thresholds []Threshold
	// Transition is how long a pressure outlasts its cause.
	Transition time.Duration
	// MaxGrace of pods evicted for a soft threshold, in seconds; below zero
	// each has its own.
	MaxGrace int64
	// Observe reads how much there is of each resource.
	Observe func(ctx context.Context) map[Signal]Observation
	// Uses reads what the pods use; disk asks for the slow part too.
	Uses func(ctx context.Context, disk bool) ([]Use, error)
	// Pods are those that run.
	Pods func() []*corev1.Pod
	// Reclaim frees room on a disk without ending a pod.
	Reclaim func(ctx context.Context) error
	// Evict ends a pod. Its channel is closed once what the pod had is free: its
	// containers have ended, and its volumes and cgroup are gone.
	Evict func(uid types.UID, v status.Verdict, grace *int64) (<-chan struct{}, bool)
	Event func(pod *corev1.Pod, kind, reason, message string)
	// Changed is told when the pressures are others.
	Changed func()
	Count   func(signal Signal)
	Log     *zap.Logger
}

// Manager watches over the node's resources.
type Manager struct {
	o Options

	// Owned by Run.
	short []Threshold
	since map[Threshold]time.Time
	// leaving are pods that were evicted, and of which something is still in use.
	leaving map[types.UID]leaving
	// softly is closed once nothing of the last of those that have time to end is
	// in use; nil is that none is waited for.
	softly <-chan struct{}

	mu   sync.Mutex
	last map[Signal]time.Time // guarded by mu: when a signal was last short
	now  Pressures            // guarded by mu
}

// leaving is a pod's end. One that was evicted for a soft threshold has until
// then; for a hard one nothing has.
type leaving struct {
	done  <-chan struct{}
	until time.Time
	hard  bool
}

// New makes a manager.
func New(o Options) *Manager {
	return &Manager{o: o, since: map[Threshold]time.Time{}, leaving: map[types.UID]leaving{}, last: map[Signal]time.Time{}}
}

// Thresholds reads the configuration's.
func Thresholds(cfg *config.Kubelet) ([]Threshold, error) {
	var out []Threshold
	add := func(signal, text string, grace time.Duration) error {
		q, share, err := config.Threshold(text)
		if err != nil {
			return fmt.Errorf("threshold of %s: %w", signal, err)
		}
		t := Threshold{Signal: Signal(signal), Share: share, Grace: grace}
		if q != nil {
			t.Value = q.Value()
		}
		if text, ok := cfg.EvictionReclaim[signal]; ok {
			q, share, err := config.Threshold(text)
			if err != nil {
				return fmt.Errorf("evictionMinimumReclaim[%s]: %w", signal, err)
			}
			t.ReclaimShare = share
			if q != nil {
				t.Reclaim = q.Value()
			}
		}
		if t.Value > 0 || t.Share > 0 {
			out = append(out, t)
		}
		return nil
	}
	for signal, text := range cfg.EvictionHard {
		if err := add(signal, text, 0); err != nil {
			return nil, err
		}
	}
	for signal, text := range cfg.EvictionSoft {
		grace, err := time.ParseDuration(cfg.EvictionGrace[signal])
		if err != nil {
			return nil, fmt.Errorf("evictionSoftGracePeriod[%s]: %w", signal, err)
		}
		if err := add(signal, text, grace); err != nil {
			return nil, err
		}
	}
	out = append(out, allocatable(out, cfg.EnforceAllocatable)...)
	slices.SortFunc(out, func(a, b Threshold) int { return strings.Compare(string(a.Signal), string(b.Signal)) })
	return out, nil
}

// allocatable are the thresholds for what is left of the memory that all pods
// share, where they are held to it: the node may have enough, and they not.
func allocatable(thresholds []Threshold, enforced []string) []Threshold {
	var out []Threshold
	if !slices.Contains(enforced, "pods") {
		return nil
	}
	for _, t := range thresholds {
		if t.Signal == Memory && t.Hard() {
			t.Signal = AllocatableMem
			out = append(out, t)
		}
	}
	return out
}

// Pressures are the node's now.
func (m *Manager) Pressures() Pressures {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Run looks until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	t := time.NewTimer(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-m.softly:
			m.softly = nil
			t.Reset(again)
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		if m.look(ctx) {
			t.Reset(again)
		} else {
			t.Reset(every)
		}
	}
}

// look reports whether a pod was evicted.
func (m *Manager) look(ctx context.Context) bool {
	m.forget()
	if m.limits(ctx) {
		return true
	}
	seen := m.o.Observe(ctx)
	m.short = Met(m.o.Thresholds, seen, m.short)
	m.pressures(m.short)
	reclaimed := false
	for _, t := range m.due() {
		o := seen[t.Signal]
		m.o.Log.Warn("the node is short of a resource", zap.String("signal", string(t.Signal)), zap.Int64("available", o.Available), zap.Int64("threshold", t.at(o)))
		if PressureOf([]Signal{t.Signal}).Disk {
			if !reclaimed {
				m.reclaim(ctx)
				seen, reclaimed = m.o.Observe(ctx), true
			}
			if !slices.Contains(Met(m.o.Thresholds, seen, m.short), t) {
				continue
			}
			o = seen[t.Signal]
		}
		if m.one(ctx, &t, o) {
			return true
		}
	}
	return false
}

func (m *Manager) reclaim(ctx context.Context) {
	if err := m.o.Reclaim(ctx); err != nil {
		m.o.Log.Warn("not all that could go was removed to make room", zap.Error(err))
	}
}

// forget drops pods that have ended.
func (m *Manager) forget() {
	for uid, l := range m.leaving {
		select {
		case <-l.done:
			delete(m.leaving, uid)
		default:
		}
	}
}

// staysOut reports whether a pod can't be chosen: it goes already. One that does
// so in its own time is not given that when nobody has any.
func (m *Manager) staysOut(pod *corev1.Pod, hard bool) bool {
	l, is := m.leaving[pod.UID]
	return is && (l.hard || !hard)
}

// inTime reports whether a pod that was evicted is still within its time.
func (m *Manager) inTime() bool {
	for _, l := range m.leaving {
		if time.Now().Before(l.until) {
			return true
		}
	}
	return false
}

// due are the thresholds that have been crossed for long enough: hard ones before
// soft ones, and of those memory before the rest, since the kernel won't wait.
func (m *Manager) due() []Threshold {
	now := time.Now()
	for t := range m.since {
		if !slices.Contains(m.short, t) {
			delete(m.since, t)
		}
	}
	var due []Threshold
	for _, t := range m.short {
		if _, ok := m.since[t]; !ok {
			m.since[t] = now
		}
		if now.Sub(m.since[t]) >= t.Grace {
			due = append(due, t)
		}
	}
	slices.SortStableFunc(due, func(a, b Threshold) int {
		return cmp.Or(compareBool(!a.Hard(), !b.Hard()), compareBool(resourceOf(a.Signal) != corev1.ResourceMemory, resourceOf(b.Signal) != corev1.ResourceMemory))
	})
	return due
}

func (m *Manager) pressures(short []Threshold) {
	m.mu.Lock()
	now := time.Now()
	for _, t := range short {
		m.last[t.Signal] = now
	}
	var signals []Signal
	for s, at := range m.last {
		if now.Sub(at) < max(m.o.Transition, time.Nanosecond) || slices.ContainsFunc(short, func(t Threshold) bool { return t.Signal == s }) {
			signals = append(signals, s)
		}
	}
	next := PressureOf(signals)
	changed := next != m.now
	m.now = next
	m.mu.Unlock()
	if changed {
		m.o.Changed()
	}
}

// one evicts the pod that ranks first. For a soft threshold one at a time goes,
// in its time.
func (m *Manager) one(ctx context.Context, t *Threshold, o Observation) bool {
	if !t.Hard() && m.inTime() {
		return false
	}
	uses, err := m.o.Uses(ctx, PressureOf([]Signal{t.Signal}).Disk)
	if err != nil {
		m.o.Log.Warn("what pods use can't be read", zap.Error(err))
		return false
	}
	uses = slices.DeleteFunc(uses, func(u Use) bool { return m.staysOut(u.Pod, t.Hard()) })
	ranked := Rank(uses, t.Signal)
	if len(ranked) == 0 {
		return false
	}
	u := &ranked[0]
	return m.evict(ctx, u.Pod, t.Signal, Message(u, t, o), gracePeriod(u.Pod, t, m.o.MaxGrace), t.Hard())
}

// evict reports whether the pod goes now. It waits for that, though not for long,
// and not for one that has time: the node may run short of something else.
func (m *Manager) evict(ctx context.Context, pod *corev1.Pod, signal Signal, message string, grace int64, hard bool) bool {
	done, ok := m.o.Evict(pod.UID, status.Verdict{
		Phase: corev1.PodFailed, Reason: "Evicted", Message: message,
		Disrupted: corev1.PodReasonTerminationByKubelet, DisruptedMessage: message,
	}, &grace)
	if !ok {
		return false
	}
	if _, sooner := m.leaving[pod.UID]; !sooner {
		m.o.Event(pod, corev1.EventTypeWarning, "Evicted", message)
		if m.o.Count != nil {
			m.o.Count(signal)
		}
	}
	m.leaving[pod.UID] = leaving{done, time.Now().Add(runtime.Patience(runtime.Grace(grace))), hard}
	if !hard {
		m.softly = done
		return true
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		m.o.Log.Warn("an evicted pod takes long to end", zap.String("namespace", pod.Namespace), zap.String("name", pod.Name), zap.Int64("graceSeconds", grace))
	case <-ctx.Done():
	}
	return true
}

// limits evicts pods that use more local storage than they may.
func (m *Manager) limits(ctx context.Context) bool {
	if !slices.ContainsFunc(m.o.Pods(), Limited) {
		return false
	}
	uses, err := m.o.Uses(ctx, true)
	if err != nil {
		m.o.Log.Warn("what pods use can't be read", zap.Error(err))
		return false
	}
	evicted := false
	for i := range uses {
		u := &uses[i]
		if Critical(u.Pod) || !Limited(u.Pod) || m.staysOut(u.Pod, true) {
			continue
		}
		if signal, why := OverLimit(u); why != "" {
			evicted = m.evict(ctx, u.Pod, signal, why, 1, true) || evicted
		}
	}
	return evicted
}
