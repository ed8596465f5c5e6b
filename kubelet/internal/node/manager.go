package node

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
)

// Options of a manager.
type Options struct {
	API *client.Client // nil stands alone
	// Spec is what the node is registered with; Register false waits for
	// somebody else to.
	Spec     Spec
	Register bool
	// Facts are asked before each status.
	Facts func(ctx context.Context) *Facts
	// Update is how often to look, Report how often to write if nothing
	// changed.
	Update, Report time.Duration
	// Lease is how long a heartbeat holds.
	Lease time.Duration
	// Event is about the node.
	Event func(kind, reason, message string)
	// Changed is told when the node was written or seen to change.
	Changed func(n *corev1.Node)
	Log     *zap.Logger
}

// Manager keeps the node.
type Manager struct {
	o    Options
	wake chan struct{}

	mu      sync.Mutex
	node    *corev1.Node // guarded by mu; as last read or written
	written time.Time    // guarded by mu
	ready   chan struct{}
	once    sync.Once
}

// NewManager makes a manager; nothing happens before Run.
func NewManager(o Options) *Manager {
	m := &Manager{o: o, wake: make(chan struct{}, 1), ready: make(chan struct{})}
	m.node = New(o.Spec)
	return m
}

// Object is the node, as the API has it once it is registered.
func (m *Manager) Object() *corev1.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node
}

// Registered is closed once the API has the node.
func (m *Manager) Registered() <-chan struct{} { return m.ready }

// Seen says what the API has.
func (m *Manager) Seen(n *corev1.Node) {
	m.mu.Lock()
	m.node = n
	m.mu.Unlock()
	if m.o.Changed != nil {
		m.o.Changed(n)
	}
}

// Gone says that the node was deleted: it is registered again.
func (m *Manager) Gone() { m.Now() }

// Now asks for a status at once.
func (m *Manager) Now() {
	select {
	case m.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Pauses of registration, as Kubernetes' has them.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 7 * time.Second
)

// Run registers the node and keeps its status until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	if m.o.API == nil {
		m.local(ctx)
	} else if err := m.register(ctx); err != nil {
		return err
	}
	t := time.NewTicker(m.o.Update)
	defer t.Stop()
	for {
		if err := m.sync(ctx); err != nil && ctx.Err() == nil {
			m.o.Log.Warn("the node's status can't be written", zap.Error(err))
		}
		select {
		case <-t.C:
		case <-m.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// local is the status of a node without an API.
func (m *Manager) local(ctx context.Context) {
	n := New(m.o.Spec)
	n.Status = *Status(&n.Status, m.o.Facts(ctx))
	m.mu.Lock()
	m.node = n
	m.mu.Unlock()
}

func (m *Manager) register(ctx context.Context) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := m.registerOnce(ctx)
		if err == nil {
			m.once.Do(func() { close(m.ready) })
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.o.Log.Debug("the node can't be registered yet", zap.Error(err))
		if pause == lastPause {
			m.o.Log.Warn("the node can't be registered yet", zap.String("node", m.o.Spec.Name), zap.Error(err))
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

func (m *Manager) registerOnce(ctx context.Context) error {
	have, err := client.Get[*corev1.Node](ctx, m.o.API, "", m.o.Spec.Name)
	switch {
	case err == nil:
		m.Seen(have)
		if err := m.reconcile(ctx, have); err != nil {
			return err
		}
		// A kubelet that starts tells how it finds its node, whoever told it before.
		m.tell(&corev1.NodeStatus{}, Status(&corev1.NodeStatus{}, m.o.Facts(ctx)))
		return nil
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("get node %s: %w", m.o.Spec.Name, err)
	case !m.o.Register:
		return fmt.Errorf("node %s is not there, and registerNode is false: create it", m.o.Spec.Name)
	}
	n := New(m.o.Spec)
	n.Status = *Status(&n.Status, m.o.Facts(ctx))
	made, err := client.Create(ctx, m.o.API, n)
	if err != nil {
		return fmt.Errorf("register node %s: %w", m.o.Spec.Name, err)
	}
	m.o.Log.Info("node registered", zap.String("node", made.Name))
	m.tell(&corev1.NodeStatus{}, &n.Status)
	m.Seen(made)
	return nil
}

// reconcile brings the labels that are the node's own to what they should be;
// everything else that somebody gave a node that exists stays.
func (m *Manager) reconcile(ctx context.Context, have *corev1.Node) error {
	if !m.o.Register {
		return nil
	}
	labels := missing(have.Labels, own(m.o.Spec.Hostname))
	if len(labels) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return err
	}
	n, err := client.Patch[*corev1.Node](ctx, m.o.API, "", have.Name, types.MergePatchType, patch)
	if err != nil {
		return fmt.Errorf("label node %s: %w", have.Name, err)
	}
	m.Seen(n)
	return nil
}

// missing are the labels that a node should have and has not.
func missing(have, want map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range want {
		if have[k] != v {
			out[k] = v
		}
	}
	return out
}

// tries of a status' write against those of others.
const tries = 5

// sync writes the status if it changed, or if it is time to.
func (m *Manager) sync(ctx context.Context) error {
	f := m.o.Facts(ctx)
	n := m.Object()
	if m.o.API == nil {
		m.local(ctx)
		return nil
	}
	var err error
	for range tries {
		next := *n // shallow: only the status is another
		next.Status = *Status(&n.Status, f)
		m.mu.Lock()
		silent := time.Since(m.written)
		m.mu.Unlock()
		if !due(&n.Status, &next.Status, silent, m.o.Report) {
			return nil
		}
		var stored *corev1.Node
		if stored, err = client.UpdateStatus(ctx, m.o.API, &next); err == nil {
			m.tell(&n.Status, &next.Status)
			m.mu.Lock()
			m.written = time.Now()
			m.mu.Unlock()
			m.Seen(stored)
			return nil
		}
		if apierrors.IsNotFound(err) {
			return m.register(ctx)
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		if n, err = client.Get[*corev1.Node](ctx, m.o.API, "", m.o.Spec.Name); err != nil {
			return err
		}
	}
	return err
}

// due reports whether a status is written: it is another, or the last was
// written long ago.
func due(old, next *corev1.NodeStatus, silent, report time.Duration) bool {
	return silent >= report || !same(old, next)
}

// same compares all but the heartbeats.
func same(a, b *corev1.NodeStatus) bool {
	x, y := *a, *b
	x.Conditions, y.Conditions = quiet(a.Conditions), quiet(b.Conditions)
	return equality.Semantic.DeepEqual(&x, &y)
}

func quiet(list []corev1.NodeCondition) []corev1.NodeCondition {
	out := make([]corev1.NodeCondition, len(list))
	for i, c := range list {
		c.LastHeartbeatTime.Reset()
		c.LastTransitionTime.Reset()
		out[i] = c
	}
	return out
}

// tell records what changed for people.
func (m *Manager) tell(old, now *corev1.NodeStatus) {
	for _, reason := range changes(old, now) {
		m.o.Event(corev1.EventTypeNormal, reason, fmt.Sprintf("Node %s status is now: %s", m.o.Spec.Name, reason))
	}
}

// changes are the reasons of the events about conditions that changed. A node's
// first ones are told too, but for Ready: that it is not yet is no news.
func changes(old, now *corev1.NodeStatus) []string {
	words := map[corev1.NodeConditionType][2]string{ // when true, when false
		corev1.NodeReady:          {"NodeReady", "NodeNotReady"},
		corev1.NodeMemoryPressure: {"NodeHasInsufficientMemory", "NodeHasSufficientMemory"},
		corev1.NodeDiskPressure:   {"NodeHasDiskPressure", "NodeHasNoDiskPressure"},
		corev1.NodePIDPressure:    {"NodeHasInsufficientPID", "NodeHasSufficientPID"},
	}
	before := map[corev1.NodeConditionType]corev1.ConditionStatus{}
	for _, c := range old.Conditions {
		before[c.Type] = c.Status
	}
	var out []string
	for _, c := range now.Conditions {
		w, ok := words[c.Type]
		if !ok || before[c.Type] == c.Status || c.Type == corev1.NodeReady && before[c.Type] == "" {
			continue
		}
		reason := w[1]
		if c.Status == corev1.ConditionTrue {
			reason = w[0]
		}
		out = append(out, reason)
	}
	return out
}
