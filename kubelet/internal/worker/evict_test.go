package worker

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/status"
)

// One that is being ended for one reason is ended sooner for another; why it
// ends stays as it was, and nobody gives it more time.
func TestEvictSooner(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		p := named(t, "p")
		s.slow = 10 * time.Minute
		s.pods.Update(p)
		time.Sleep(time.Second)
		synctest.Wait()
		hour, second := int64(3600), int64(1)
		for _, c := range []struct {
			reason      string
			grace, want *int64
		}{{"First", &hour, &hour}, {"Second", &second, &second}, {"Third", &hour, &second}, {"Fourth", nil, &second}} {
			w := s.pods.workers["p"]
			w.evict(status.Verdict{Phase: corev1.PodFailed, Reason: c.reason}, c.grace)
			w.mu.Lock()
			if *w.grace != *c.want || w.verdict.Reason != "First" {
				t.Errorf("%s: %d seconds for %s", c.reason, *w.grace, w.verdict.Reason)
			}
			w.mu.Unlock()
		}
	})
}

// succeed runs a pod whose work is done at once.
func (s *scene) succeed(t *testing.T, name string) {
	t.Helper()
	p := named(t, name)
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	s.pods.Update(p)
	time.Sleep(time.Second)
	s.mu.Lock()
	for _, c := range s.running("main") {
		s.exit(c, 0)
	}
	s.mu.Unlock()
	s.changed(p.UID)
}

// What has ended is not ended for another reason: its work was done.
func TestEvictTooLate(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		s.succeed(t, "p")
		time.Sleep(time.Second)
		if _, ok := s.pods.Evict("p", status.Verdict{Phase: corev1.PodFailed, Reason: "Evicted"}, nil); ok {
			t.Error("it was evicted")
		}
		s.pods.Wake("p")
		time.Sleep(time.Second)
		synctest.Wait()
		if got := s.around.status("p"); got.Phase != corev1.PodSucceeded || got.Reason != "" {
			t.Errorf("it is %s %s", got.Phase, got.Reason)
		}
	})
}

// Who ends one that is being decided about learns that it never began.
func TestEvictRefused(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		var done <-chan struct{}
		s.pods.o.Admit = func(pod *corev1.Pod, _ []*corev1.Pod, _ map[types.UID]Going) Decision {
			done, _ = s.pods.Evict(pod.UID, status.Verdict{Phase: corev1.PodFailed, Reason: "Evicted"}, nil)
			return Decision{Refusal: &Refusal{Reason: "OutOfcpu"}}
		}
		s.pods.Update(named(t, "p"))
		time.Sleep(time.Second)
		synctest.Wait()
		select {
		case <-done:
		default:
			t.Error("it is still waited for")
		}
	})
}

// What a pod had is free once its volumes are gone: later than its end.
func TestEvictClears(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		closed := func(c <-chan struct{}) bool {
			select {
			case <-c:
				return true
			default:
				return false
			}
		}
		s.pods.Update(named(t, "p"))
		time.Sleep(time.Second)
		s.around.mu.Lock()
		s.around.busy = true
		s.around.mu.Unlock()
		verdict, second := status.Verdict{Phase: corev1.PodFailed, Reason: "Evicted"}, int64(1)
		cleared, ok := s.pods.Clear("p", verdict, &second)
		if !ok {
			t.Fatal("it is not evicted")
		}
		stopped, _ := s.pods.Evict("p", verdict, &second)
		time.Sleep(time.Minute)
		synctest.Wait()
		if !closed(stopped) || closed(cleared) {
			t.Errorf("with busy volumes: stopped %t, cleared %t", closed(stopped), closed(cleared))
		}
		s.around.mu.Lock()
		s.around.busy = false
		s.around.mu.Unlock()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if !closed(cleared) {
			t.Error("it is still waited for")
		}
		if _, ok := s.pods.Clear("p", verdict, &second); ok {
			t.Error("it was evicted twice")
		}
	})
}
