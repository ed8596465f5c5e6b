package probe

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// commands answers probes by a function of time.
type commands func(since time.Duration) (int32, error)

func (c commands) Exec(ctx context.Context, _ string, command []string, _ time.Duration) (string, int32, error) {
	code, err := c(time.Since(epoch))
	return strings.Join(command, " "), code, err
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble's beginning

// watch runs probes of one container for a time and notes what changes when.
func watch(t *testing.T, c *corev1.Container, target Target, answer commands, long time.Duration) (changes, events string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var lines, notes []string
		var m *Manager
		m = New(Options{
			Exec: answer,
			Changed: func(types.UID) {
				mu.Lock()
				defer mu.Unlock()
				lines = append(lines, fmt.Sprintf("%v ready=%t started=%t failed=%q", time.Since(epoch), m.Ready("id", c), m.Started("id"), m.Failed("id")))
			},
			Event: func(_ *corev1.Pod, container, _, reason, message string) {
				mu.Lock()
				defer mu.Unlock()
				notes = append(notes, fmt.Sprintf("%v %s %s", time.Since(epoch), reason, message))
			},
		})
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		target.ID, target.Container = "id", c
		if target.Since.IsZero() {
			target.Since = time.Now()
		}
		m.Sync(&corev1.Pod{}, []Target{target}, false)
		time.Sleep(long)
		synctest.Wait()
		cancel()
		<-done
		mu.Lock()
		defer mu.Unlock()
		changes, events = strings.Join(lines, "\n"), strings.Join(notes, "\n")
	})
	return changes, events
}

func command(period, success, failure, delay int32) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"check"}}}, PeriodSeconds: period, SuccessThreshold: success, FailureThreshold: failure, InitialDelaySeconds: delay}
}

func from(d time.Duration) commands {
	return func(since time.Duration) (int32, error) {
		if since < d {
			return 1, nil
		}
		return 0, nil
	}
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A container that is there at once is ready at once, without complaint.
func TestReadyAtOnce(t *testing.T) {
	changes, events := watch(t, &corev1.Container{ReadinessProbe: command(10, 1, 3, 0)}, Target{}, from(60*time.Millisecond), time.Minute)
	expect(t, changes, `75ms ready=true started=true failed=""`)
	expect(t, events, "")
}

// Later it is asked in its period, and failures count from the threshold on.
func TestReadiness(t *testing.T) {
	answer := func(since time.Duration) (int32, error) {
		if since > 25*time.Second && since < 75*time.Second {
			return 1, nil
		}
		return 0, nil
	}
	changes, events := watch(t, &corev1.Container{ReadinessProbe: command(10, 2, 3, 5)}, Target{}, answer, 2*time.Minute)
	expect(t, changes, `15s ready=true started=true failed=""
55s ready=false started=true failed=""
1m25s ready=true started=true failed=""`)
	if n := strings.Count(events, "Unhealthy Readiness probe failed: check"); n != 4 {
		t.Errorf("events\n%s", events)
	}
}

func TestLiveness(t *testing.T) {
	answer := func(since time.Duration) (int32, error) {
		if since > 20*time.Second {
			return 1, nil
		}
		return 0, nil
	}
	changes, events := watch(t, &corev1.Container{LivenessProbe: command(10, 1, 3, 0)}, Target{}, answer, 2*time.Minute)
	expect(t, changes, `50s ready=true started=true failed="liveness"`)
	if n := strings.Count(events, "Liveness probe failed"); n != 3 {
		t.Errorf("events\n%s", events)
	}
}

// Nothing else is asked before the startup probe is through.
func TestStartup(t *testing.T) {
	c := &corev1.Container{StartupProbe: command(10, 1, 10, 0), LivenessProbe: command(1, 1, 1, 0), ReadinessProbe: command(1, 1, 1, 0)}
	changes, events := watch(t, c, Target{}, from(15*time.Second), time.Minute)
	lines := strings.Split(changes, "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "started=true") || !strings.Contains(lines[1], "ready=true") {
		t.Errorf("changes\n%s", changes)
	}
	if strings.Contains(events, "Liveness") || strings.Contains(events, "Readiness") {
		t.Errorf("events\n%s", events)
	}
	changes, _ = watch(t, &corev1.Container{StartupProbe: command(10, 1, 3, 0)}, Target{}, from(time.Hour), time.Minute)
	if !strings.Contains(changes, `started=false failed="startup"`) {
		t.Errorf("changes\n%s", changes)
	}
}

// What was known before the kubelet began holds until it is known better.
func TestAdopted(t *testing.T) {
	target := Target{Adopted: true, Told: true, Ready: true, Started: true, Since: epoch.Add(-time.Hour)}
	c := &corev1.Container{StartupProbe: command(1, 1, 1, 0), ReadinessProbe: command(1, 1, 3, 0)}
	changes, _ := watch(t, c, target, from(0), time.Minute)
	expect(t, changes, "")
}

// A probe that does not work says nothing about the container.
func TestBroken(t *testing.T) {
	broken := func(time.Duration) (int32, error) { return 0, fmt.Errorf("the runtime is away") }
	changes, events := watch(t, &corev1.Container{LivenessProbe: command(10, 1, 1, 0)}, Target{}, broken, time.Minute)
	expect(t, changes, "")
	if !strings.Contains(events, "Liveness probe errored and resulted in unknown state: the runtime is away") {
		t.Errorf("events\n%s", events)
	}
	slow := func(time.Duration) (int32, error) { return 0, context.DeadlineExceeded }
	changes, events = watch(t, &corev1.Container{LivenessProbe: command(10, 1, 1, 0)}, Target{}, slow, time.Minute)
	if !strings.Contains(changes, `failed="liveness"`) || !strings.Contains(events, `command timed out: "check" timed out after 1s`) {
		t.Errorf("changes\n%s\nevents\n%s", changes, events)
	}
}

func TestURL(t *testing.T) {
	c := &corev1.Container{Name: "c", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}}
	for _, x := range []struct {
		a    corev1.HTTPGetAction
		want string
	}{
		{corev1.HTTPGetAction{Port: intstr.FromInt32(80), Path: "/a?b=c"}, "http://1.2.3.4:80/a?b=c"},
		{corev1.HTTPGetAction{Port: intstr.FromString("web"), Scheme: "HTTPS", Host: "h"}, "https://h:8080/"},
		{corev1.HTTPGetAction{Port: intstr.FromString("81"), Path: "x y"}, "http://1.2.3.4:81/x%20y"},
	} {
		u, err := URL(&x.a, c, "1.2.3.4")
		if err != nil || u.String() != x.want {
			t.Errorf("%v: %v %v", x.a, u, err)
		}
	}
	for _, bad := range []intstr.IntOrString{intstr.FromString("none"), intstr.FromInt32(0), intstr.FromInt32(70000)} {
		if u, err := URL(&corev1.HTTPGetAction{Port: bad}, c, "x"); err == nil {
			t.Errorf("%v is %v", bad, u)
		}
	}
}

// TestNotYetProbed: a container that is told of before its probe has begun is
// not ready; one that has no probe is.
func TestNotYetProbed(t *testing.T) {
	m := New(Options{})
	plain, probed := &corev1.Container{Name: "plain"}, &corev1.Container{Name: "probed", ReadinessProbe: command(1, 1, 1, 0)}
	for _, c := range []struct {
		of   *corev1.Container
		want bool
	}{{nil, true}, {plain, true}, {probed, false}} {
		if got := m.Ready("new", c.of); got != c.want {
			t.Errorf("%+v: ready %t, expected %t", c.of, got, c.want)
		}
	}
	m.Sync(&corev1.Pod{}, []Target{{ID: "old", Container: probed, Adopted: true, Told: true, Ready: true}}, false)
	if !m.Ready("old", probed) {
		t.Error("what was ready before this kubelet began is not")
	}
}
