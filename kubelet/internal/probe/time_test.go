package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// book notes who was asked what when, and answers by a function.
type book struct {
	answer func(what string, since time.Duration) int32

	mu    sync.Mutex
	asked map[string][]time.Duration // guarded by mu; by command, or by container
}

func (b *book) Exec(_ context.Context, id string, command []string, _ time.Duration) (string, int32, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked == nil {
		b.asked = map[string][]time.Duration{}
	}
	at := time.Since(epoch)
	for _, key := range []string{command[0], id} {
		b.asked[key] = append(b.asked[key], at)
	}
	return "", b.answer(command[0], at), nil
}

func (b *book) of(key string) []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked[key])
}

// begin runs a manager in a bubble until end is called.
func begin(t *testing.T, b *book) (m *Manager, end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	m = New(Options{Exec: b, Changed: func(types.UID) {}, Event: func(*corev1.Pod, string, string, string, string) {}})
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	synctest.Wait()
	return m, func() {
		cancel()
		<-done
	}
}

func named(p *corev1.Probe, command string) *corev1.Probe {
	p.Exec.Command = []string{command}
	return p
}

// A container that takes its time is ready soon after it is there, not at the
// next turn of a long period; a complaint comes with each turn only.
func TestReadyLater(t *testing.T) {
	changes, events := watch(t, &corev1.Container{ReadinessProbe: command(20, 1, 3, 0)}, Target{}, from(3500*time.Millisecond), time.Minute)
	expect(t, changes, `3.965625s ready=true started=true failed=""`)
	if n := strings.Count(events, "Unhealthy"); n != 1 {
		t.Errorf("events\n%s", events)
	}
	// Two successes in a row are two turns.
	changes, _ = watch(t, &corev1.Container{ReadinessProbe: command(20, 2, 3, 0)}, Target{}, from(3500*time.Millisecond), time.Minute)
	expect(t, changes, `20s ready=true started=true failed=""`)
}

// What is never there costs little more than its period asks for.
func TestNeverReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{answer: func(string, time.Duration) int32 { return 1 }}
		m, end := begin(t, b)
		defer end()
		m.Sync(&corev1.Pod{}, []Target{{ID: "id", Container: &corev1.Container{ReadinessProbe: command(10, 1, 3, 0)}, Since: time.Now()}}, false)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(b.of("id")); n < 360 || n > 380 {
			t.Errorf("asked %d times in an hour of 360 periods", n)
		}
	})
}

// Once a container has started it is asked the rest in that moment.
func TestAskedOnceStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{answer: func(what string, since time.Duration) int32 {
			if what == "start" && since < 15*time.Second {
				return 1
			}
			return 0
		}}
		m, end := begin(t, b)
		defer end()
		c := &corev1.Container{StartupProbe: named(command(10, 1, 10, 0), "start"), LivenessProbe: named(command(10, 1, 3, 0), "live"), ReadinessProbe: named(command(10, 1, 3, 5), "ready")}
		m.Sync(&corev1.Pod{}, []Target{{ID: "id", Container: c, Since: time.Now()}}, false)
		time.Sleep(25 * time.Second)
		synctest.Wait()
		for _, what := range []string{"live", "ready"} {
			if at := b.of(what); len(at) != 1 || at[0] != 20*time.Second {
				t.Errorf("%s was asked at %v, and the container had started at 20s", what, at)
			}
		}
		if !m.Ready("id", c) || !m.Started("id") {
			t.Error("it is not ready")
		}
	})
}

// What ends is only asked whether it is ready, and starts no more.
func TestEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{answer: func(what string, _ time.Duration) int32 {
			if what == "start" {
				return 1
			}
			return 0
		}}
		m, end := begin(t, b)
		defer end()
		early := &corev1.Container{Name: "early", StartupProbe: named(command(1, 1, 100, 0), "start"), ReadinessProbe: named(command(1, 1, 1, 0), "never")}
		up := &corev1.Container{Name: "up", LivenessProbe: named(command(1, 1, 1, 0), "live"), ReadinessProbe: named(command(1, 1, 1, 0), "ready")}
		both := []Target{{ID: "early", Container: early, Since: time.Now()}, {ID: "up", Container: up, Since: time.Now()}}
		pod := &corev1.Pod{}
		m.Sync(pod, both, false)
		time.Sleep(10 * time.Second)
		m.Sync(pod, both, true)
		// One that a kubelet sees on its way out only.
		m.Sync(&corev1.Pod{ObjectMeta: podMeta("other")}, []Target{{ID: "other", Container: early, Since: time.Now()}}, true)
		synctest.Wait()
		starts, lives, readies := len(b.of("start")), len(b.of("live")), len(b.of("ready"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(b.of("start")) != starts || len(b.of("live")) != lives || len(b.of("never")) != 0 {
			t.Error("a container that ends is asked whether it lives, or has started")
		}
		if len(b.of("ready")) <= readies {
			t.Error("a container that ends is not asked whether it is ready")
		}
		for _, id := range []string{"early", "other"} {
			if m.Started(id) || m.Ready(id, early) {
				t.Errorf("%s has never started, and counts as such while it ends", id)
			}
		}
	})
}

func podMeta(uid string) (m metav1.ObjectMeta) {
	m.UID = types.UID(uid)
	return m
}

// A kubelet that begins anew does not ask all containers at once; those of
// which nobody knows anything are asked first.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{answer: func(string, time.Duration) int32 { return 0 }}
		m, end := begin(t, b)
		defer end()
		var told []Target
		c := &corev1.Container{ReadinessProbe: command(10, 1, 3, 0)}
		for i := range 200 {
			told = append(told, Target{ID: fmt.Sprint(i), Container: c, Since: epoch.Add(-time.Hour), Adopted: true, Told: true, Ready: i%2 == 0})
		}
		m.Sync(&corev1.Pod{ObjectMeta: podMeta("told")}, told, false)
		m.Sync(&corev1.Pod{ObjectMeta: podMeta("static")}, []Target{{ID: "static", Container: c, Since: epoch.Add(-time.Hour), Adopted: true}}, false)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if !m.Ready("static", c) {
			t.Error("a container of which nothing is known has not been asked for 100ms")
		}
		if n := len(b.of("check")); n > 30 {
			t.Errorf("%d of 200 containers were asked within a tenth of a second", n)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for i := range 200 {
			if !m.Ready(fmt.Sprint(i), c) {
				t.Errorf("container %d was not asked within its period", i)
			}
		}
	})
}

// A clock that is set back after a container's start makes its delay no
// longer.
func TestClockSetBack(t *testing.T) {
	changes, _ := watch(t, &corev1.Container{ReadinessProbe: command(10, 1, 3, 5)}, Target{Since: epoch.Add(time.Hour)}, from(0), time.Minute)
	expect(t, changes, `5s ready=true started=true failed=""`)
}

// hung takes a probe's whole time to fail.
type hung struct{ asked int }

func (h *hung) Exec(_ context.Context, _ string, _ []string, timeout time.Duration) (string, int32, error) {
	h.asked++
	time.Sleep(timeout)
	return "", 1, nil
}

// A startup probe that hangs is counted from its first question.
func TestHungStartup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hung{}
		p := &prober{kind: Startup, pod: &corev1.Pod{}, spec: command(10, 1, 2, 0), target: Target{ID: "id", Container: &corev1.Container{}, Since: time.Now()}, through: make(chan struct{})}
		p.spec.TimeoutSeconds = 5
		p.m = New(Options{Exec: h, Changed: func(types.UID) {}, Event: func(*corev1.Pod, string, string, string, string) {}})
		began := time.Now()
		p.run(t.Context())
		if took := time.Since(began); took != 15*time.Second || h.asked != 2 || p.get() != Failure {
			t.Errorf("after %v and %d questions: %s", took, h.asked, p.get())
		}
	})
}
