package worker

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// takenAway is a static pod that ran, and that takes twenty seconds to end since
// its manifest is gone.
func takenAway(t *testing.T, s *scene) *corev1.Pod {
	s.slow = 20 * time.Second
	p := named(t, "static")
	p.Annotations = map[string]string{"kubernetes.io/config.source": "file"}
	s.pods.Update(p)
	time.Sleep(time.Second)
	s.pods.Remove(p.UID)
	return p
}

// A manifest that is taken away and put back, unchanged, is the same pod: it
// ends, and then runs again, also where it is back before it has ended.
func TestPutBack(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 10 * time.Second, 25 * time.Second} {
		play(t, nil, func(t *testing.T, s *scene) {
			p := takenAway(t, s)
			time.Sleep(after)
			s.pods.Update(p)
			time.Sleep(time.Minute)
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if n := len(s.running("main")); n != 1 {
				t.Errorf("put back after %v: %d containers run, status %+v", after, n, s.around.status("static"))
			}
		})
	}
}

// One that is taken away once more before it ran again stays away.
func TestTakenAwayAgain(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		p := takenAway(t, s)
		time.Sleep(time.Second)
		s.pods.Update(p)
		time.Sleep(time.Second)
		s.pods.Remove(p.UID)
		time.Sleep(time.Minute)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.running("main")); n != 0 || s.pods.Known(p.UID) {
			t.Errorf("%d containers run, known %t", n, s.pods.Known(p.UID))
		}
	})
}
