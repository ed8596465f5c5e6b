package shutdown

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/status"
)

// Words of pods that end, or are refused, because the node goes down.
const (
	reason       = "Terminated"
	words        = "Pod was terminated in response to imminent node shutdown."
	Refused      = "NodeShutdown"
	RefusedWords = "Pod was rejected as the node is shutting down."
	// NotReady is why the node is not ready.
	NotReady = "node is shutting down"
)

// Options of a manager.
type Options struct {
	Groups []Group
	Pods   func() []*corev1.Pod
	// Evict ends a pod; done is closed once its containers have ended.
	Evict func(uid types.UID, v status.Verdict, grace *int64) (done <-chan struct{}, ok bool)
	// Changed is told when the node begins to go down, and when it does not
	// after all.
	Changed func()
	Event   func(kind, reason, message string)
	// Began and Ended are told the times of the last shutdown; both may be nil.
	Began, Ended func(time.Time)
	Log          *zap.Logger

	// Address of the system's bus, and the directory of logind's drop-ins;
	// empty is where systemd has them.
	Address, DropIns string
}

// Manager waits for the shutdown.
type Manager struct {
	o    Options
	down atomic.Bool
}

// New makes a manager; nothing happens before Run.
func New(o Options) *Manager {
	if o.Address == "" {
		o.Address = systemBus()
	}
	if o.DropIns == "" {
		o.DropIns = "/etc/systemd/logind.conf.d"
	}
	return &Manager{o: o}
}

// Down reports whether the node is going down. A nil manager's is not.
func (m *Manager) Down() bool { return m != nil && m.down.Load() }

// again is when the bus is tried once more.
const again = 30 * time.Second

// Run waits for shutdowns until ctx ends. Where no logind is, it looks for one
// now and then.
func (m *Manager) Run(ctx context.Context) error {
	told := false
	for {
		err := m.watch(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !told {
			m.o.Log.Warn("no shutdown of the node can be noticed; trying again and again", zap.Error(err))
			told = true
		}
		t := time.NewTimer(again)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// watch holds logind's lock while the node is up.
func (m *Manager) watch(ctx context.Context) error {
	l, err := connect(ctx, m.o.Address)
	if err != nil {
		return err
	}
	defer l.close()
	if err := m.time(ctx, l); err != nil {
		return err
	}
	if err := l.listen(ctx); err != nil {
		return err
	}
	held, err := l.inhibit(ctx)
	if err != nil {
		return err
	}
	defer func() { held.release() }()
	m.o.Log.Info("the node's shutdowns wait for its pods", zap.Duration("atMost", Total(m.o.Groups)))
	for {
		select {
		case s, ok := <-l.signals:
			if !ok {
				return errors.New("the connection to D-Bus was closed")
			}
			begins, is := shuts(s)
			switch {
			case !is || begins == m.Down():
			case begins:
				m.begin(ctx)
				held.release()
				held = -1
			default:
				m.down.Store(false)
				m.o.Log.Info("the node does not go down after all")
				m.o.Changed()
				if held, err = l.inhibit(ctx); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// shuts reports whether a signal says that a shutdown begins, or is called off.
func shuts(s *dbus.Signal) (begins, is bool) {
	if s.Name != manager+"."+prepare || len(s.Body) != 1 {
		return false, false
	}
	begins, is = s.Body[0].(bool)
	return begins, is
}

// time sees to it that logind waits long enough.
func (m *Manager) time(ctx context.Context, l *logind) error {
	need := Total(m.o.Groups)
	have, err := l.longest(ctx)
	if err != nil || have >= need {
		return err
	}
	if err := l.extend(ctx, need, m.o.DropIns); err != nil {
		return fmt.Errorf("logind waits %v, %v is needed: %w", have, need, err)
	}
	const tries, pause = 20, 100 * time.Millisecond // it reads its configuration on its own time
	for range tries {
		if have, err = l.longest(ctx); err != nil || have >= need {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("logind waits %v, not the %v of shutdownGracePeriod: set InhibitDelayMaxSec in its configuration", have, need)
}

// begin ends all pods, one group after the other.
func (m *Manager) begin(ctx context.Context) {
	m.down.Store(true)
	m.o.Log.Info("the node is going down")
	m.o.Event(corev1.EventTypeNormal, "Shutdown", "Shutdown manager detected shutdown event")
	m.o.Changed()
	if m.o.Began != nil {
		m.o.Began(time.Now())
	}
	for _, s := range Plan(m.o.Groups, m.o.Pods()) {
		m.o.Log.Info("pods end", zap.Stringer("step", s))
		if !m.step(ctx, s) {
			m.o.Log.Warn("pods have not ended in time", zap.Duration("time", s.Time))
		}
	}
	if m.o.Ended != nil {
		m.o.Ended(time.Now())
	}
}

// step reports whether all pods of a step ended in its time.
func (m *Manager) step(ctx context.Context, s Step) bool {
	verdict := status.Verdict{Phase: corev1.PodFailed, Reason: reason, Message: words, Disrupted: corev1.PodReasonTerminationByKubelet, DisruptedMessage: words}
	var wait []<-chan struct{}
	for _, e := range s.Endings {
		grace := e.Grace
		if done, ok := m.o.Evict(e.Pod.UID, verdict, &grace); ok {
			wait = append(wait, done)
		}
	}
	over := time.NewTimer(s.Time)
	defer over.Stop()
	for _, done := range wait {
		select {
		case <-done:
		case <-over.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}
