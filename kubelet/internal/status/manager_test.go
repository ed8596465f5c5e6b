package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// server is an API server with one pod; writes are answered at once.
type server struct {
	began time.Time

	mu    sync.Mutex
	pod   *corev1.Pod // guarded by mu; nil once deleted
	cache *corev1.Pod // guarded by mu; what the watch has
	fails []error     // guarded by mu; of the next writes
	// after is called once, when a write was made and not yet answered.
	after func()
	log   []string // guarded by mu; what was written when
}

func (s *server) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf("%v ", time.Since(s.began))+fmt.Sprintf(format, args...))
}

func (s *server) Pod(*corev1.Pod) *corev1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cache
}

func (s *server) Fresh(context.Context, string, string) (*corev1.Pod, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("read")
	if s.pod == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "p")
	}
	return s.pod, nil
}

func (s *server) Update(_ context.Context, pod *corev1.Pod, done func(string, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	go func() {
		revision, err := s.update(pod)
		if f := s.after; f != nil {
			s.after = nil
			f()
		}
		done(revision, err)
	}()
	return nil
}

func (s *server) update(pod *corev1.Pod) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fails) > 0 {
		err := s.fails[0]
		s.fails = s.fails[1:]
		s.note("failed %v", err)
		return "", err
	}
	switch {
	case s.pod == nil:
		return "", apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "p")
	case pod.ResourceVersion != s.pod.ResourceVersion:
		s.note("conflict")
		return "", apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, "p", errors.New("changed"))
	}
	s.set(&pod.Status)
	s.note("%s %s", pod.Status.Phase, waiting(&pod.Status))
	return s.pod.ResourceVersion, nil
}

// set needs the lock.
func (s *server) set(status *corev1.PodStatus) {
	n, _ := strconv.Atoi(s.pod.ResourceVersion) // it is ours
	next := s.pod.DeepCopy()
	next.ResourceVersion, next.Status = strconv.Itoa(n+1), *status.DeepCopy()
	s.pod = next
}

func (s *server) Delete(_ context.Context, _ *corev1.Pod, done func(error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("deleted")
	s.pod = nil
	go done(nil)
	return nil
}

func waiting(s *corev1.PodStatus) string {
	for _, c := range s.ContainerStatuses {
		if c.State.Waiting != nil {
			return c.State.Waiting.Reason
		}
	}
	return ""
}

func made(phase corev1.PodPhase, reason string) *corev1.PodStatus {
	s := &corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: "main"}}}
	if reason != "" {
		s.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: reason}
	}
	return s
}

// story runs a manager and gives what was written when.
func story(t *testing.T, f func(m *Manager, s *server, pod *corev1.Pod), want ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u", ResourceVersion: "1"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
		s := &server{began: time.Now(), pod: pod, cache: pod}
		m := NewManager(s, zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = m.Run(ctx) }) // ends with the story
		synctest.Wait()
		f(m, s, pod)
		time.Sleep(time.Hour)
		synctest.Wait()
		cancel()
		group.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if !slices.Equal(s.log, want) {
			t.Errorf("it wrote\n\t%s\nwant\n\t%s", strings.Join(s.log, "\n\t"), strings.Join(want, "\n\t"))
		}
	})
}

const beat = 300 * time.Millisecond

func TestManager(t *testing.T) {
	t.Run("a pod that starts at once is written once", func(t *testing.T) {
		story(t, func(m *Manager, _ *server, pod *corev1.Pod) {
			m.Set(pod, made(corev1.PodPending, "ContainerCreating"))
			time.Sleep(beat)
			m.Set(pod, made(corev1.PodRunning, ""))
		}, "300ms Running ")
	})
	t.Run("one that takes its time is seen to", func(t *testing.T) {
		story(t, func(m *Manager, _ *server, pod *corev1.Pod) {
			m.Set(pod, made(corev1.PodPending, "PodInitializing"))
			time.Sleep(5 * beat)
			m.Set(pod, made(corev1.PodRunning, ""))
		}, "1s Pending PodInitializing", "1.5s Running ")
	})
	t.Run("trouble is told soon", func(t *testing.T) {
		story(t, func(m *Manager, _ *server, pod *corev1.Pod) {
			m.Set(pod, made(corev1.PodPending, "ContainerCreating"))
			time.Sleep(beat)
			m.Set(pod, made(corev1.PodPending, "ErrImagePull"))
		}, "400ms Pending ErrImagePull")
	})
	t.Run("what says the same is not written again", func(t *testing.T) {
		story(t, func(m *Manager, _ *server, pod *corev1.Pod) {
			for range 3 {
				m.Set(pod, made(corev1.PodRunning, ""))
				time.Sleep(beat)
			}
		}, "0s Running ")
	})
	t.Run("a new generation alone waits for more", func(t *testing.T) {
		story(t, func(m *Manager, _ *server, pod *corev1.Pod) {
			m.Set(pod, made(corev1.PodRunning, ""))
			time.Sleep(beat)
			next := made(corev1.PodRunning, "")
			next.ObservedGeneration = 2
			m.Set(pod, next)
			time.Sleep(beat)
			next = made(corev1.PodSucceeded, "")
			next.ObservedGeneration = 2
			m.Set(pod, next)
		}, "0s Running ", "600ms Succeeded ")
	})
	t.Run("but not for ever", func(t *testing.T) {
		story(t, func(m *Manager, _ *server, pod *corev1.Pod) {
			m.Set(pod, made(corev1.PodRunning, ""))
			time.Sleep(beat)
			next := made(corev1.PodRunning, "")
			next.ObservedGeneration = 2
			m.Set(pod, next)
		}, "0s Running ", "1.3s Running ")
	})
}

func TestManagerAgainstOthers(t *testing.T) {
	t.Run("a conflict is settled by reading", func(t *testing.T) {
		story(t, func(m *Manager, s *server, pod *corev1.Pod) {
			s.mu.Lock()
			s.set(&corev1.PodStatus{Phase: corev1.PodPending, NominatedNodeName: "x"}) // the watch is behind
			s.mu.Unlock()
			m.Set(pod, made(corev1.PodRunning, ""))
			time.Sleep(beat)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.pod.Status.NominatedNodeName != "x" {
				t.Error("what another has written is lost")
			}
		}, "0s conflict", "0s read", "0s Running ")
	})
	t.Run("failures are tried again, with pauses", func(t *testing.T) {
		story(t, func(m *Manager, s *server, pod *corev1.Pod) {
			s.mu.Lock()
			s.fails = []error{errors.New("a"), errors.New("b")}
			s.mu.Unlock()
			m.Set(pod, made(corev1.PodRunning, ""))
		}, "0s failed a", "200ms failed b", "600ms Running ")
	})
	t.Run("a pod goes once its last status is there", func(t *testing.T) {
		story(t, func(m *Manager, _ *server, pod *corev1.Pod) {
			m.Set(pod, made(corev1.PodSucceeded, ""))
			m.Delete(pod)
		}, "0s Succeeded ", "0s deleted")
	})
	t.Run("one that is gone is left alone", func(t *testing.T) {
		story(t, func(m *Manager, s *server, pod *corev1.Pod) {
			s.mu.Lock()
			s.pod = nil
			s.mu.Unlock()
			m.Set(pod, made(corev1.PodRunning, ""))
			m.Delete(pod)
		})
	})
	t.Run("a dispute is not fought fast", func(t *testing.T) {
		story(t, func(m *Manager, s *server, pod *corev1.Pod) {
			m.Set(pod, made(corev1.PodRunning, ""))
			time.Sleep(beat)
			s.mu.Lock()
			s.set(made(corev1.PodPending, ""))
			s.cache = s.pod
			api := s.pod
			s.mu.Unlock()
			m.Seen("u", api)
		}, "0s Running ", "10s Running ")
	})
	t.Run("another mirror pod that comes while a write to the one before is on its way", func(t *testing.T) {
		story(t, func(m *Manager, s *server, pod *corev1.Pod) {
			s.pod = nil
			s.after = func() {
				s.mu.Lock()
				s.pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "v", ResourceVersion: "9"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
				s.cache = s.pod
				api := s.pod
				s.mu.Unlock()
				m.Seen("u", api)
			}
			m.Set(pod, made(corev1.PodRunning, ""))
		}, "10s Running ")
	})
	t.Run("a dispute that begins while a write is on its way", func(t *testing.T) {
		story(t, func(m *Manager, s *server, pod *corev1.Pod) {
			s.after = func() {
				s.mu.Lock()
				s.set(made(corev1.PodPending, ""))
				s.cache = s.pod
				api := s.pod
				s.mu.Unlock()
				m.Seen("u", api)
			}
			m.Set(pod, made(corev1.PodRunning, ""))
		}, "0s Running ", "10s Running ")
	})
}

// That a pod is over is known once the API has it, not before.
func TestOver(t *testing.T) {
	story(t, func(m *Manager, s *server, pod *corev1.Pod) {
		check := func(want bool) {
			t.Helper()
			synctest.Wait()
			if m.Over("u") != want {
				t.Errorf("after %v it is over: %t", time.Since(s.began), !want)
			}
		}
		check(false)
		m.Set(pod, made(corev1.PodRunning, ""))
		check(false)
		s.mu.Lock()
		s.fails = []error{apierrors.NewServiceUnavailable("away")}
		s.mu.Unlock()
		m.Set(pod, made(corev1.PodFailed, ""))
		check(false)
		time.Sleep(time.Second)
		check(true) // although the watch has not shown it
		s.mu.Lock()
		s.fails = []error{apierrors.NewServiceUnavailable("away")}
		s.mu.Unlock()
		m.Set(pod, made(corev1.PodFailed, "Other"))
		check(false)
		time.Sleep(time.Second)
		check(true)
	}, "0s Running ", "0s failed away", "200ms Failed ", "1s failed away", "1.2s Failed Other")
}
