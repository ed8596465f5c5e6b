package worker

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// moods answer probes: what is ill fails them.
type moods struct {
	mu  sync.Mutex
	ill bool // guarded by mu
}

func (m *moods) set(ill bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ill = ill
}

func (m *moods) Exec(context.Context, string, []string, time.Duration) (string, int32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ill {
		return "ill", 1, nil
	}
	return "", 0, nil
}

const probed = `, image: here, readinessProbe: {exec: {command: [x]}, periodSeconds: 5, failureThreshold: 2, successThreshold: 1},
	startupProbe: {exec: {command: [x]}, periodSeconds: 2, failureThreshold: 5, successThreshold: 1},
	livenessProbe: {exec: {command: [x]}, periodSeconds: 5, failureThreshold: 3, successThreshold: 1}`

// TestConverges: whatever happened to a pod's containers, its sandbox, the
// runtime and its probes, once that is over the pod runs, and its status says
// what is there.
func TestConverges(t *testing.T) {
	for seed := range uint64(60) {
		m := &moods{}
		play(t, m, func(t *testing.T, s *scene) { converge(t, s, m, seed) })
	}
}

func converge(t *testing.T, s *scene, m *moods, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, seed))
	var events sync.WaitGroup
	defer events.Wait()
	tell := func() { // the runtime's events come in their own time
		late := time.Duration(dice.Int64N(int64(2 * time.Second)))
		events.Go(func() {
			time.Sleep(late)
			s.changed("u")
		})
	}
	pod := twoContainers(t, probed)
	s.pods.Update(pod)
	for range 60 {
		time.Sleep(time.Duration(dice.Int64N(int64(8 * time.Second))))
		s.mu.Lock()
		switch dice.IntN(8) {
		case 0, 1:
			for _, c := range s.running([]string{"main", "other"}[dice.IntN(2)]) {
				s.exit(c, int32(dice.IntN(2)))
			}
			tell()
		case 2:
			for id := range s.sandboxes {
				if dice.IntN(3) == 0 {
					s.stop(id)
				}
			}
			tell()
		case 3, 4:
			bad := dice.IntN(3)
			fails := rand.New(rand.NewPCG(seed, dice.Uint64()))
			s.trouble = func(string) error {
				if fails.IntN(3) < bad {
					return grpcstatus.Error(codes.Unavailable, "connection refused")
				}
				return nil
			}
		case 5:
			m.set(dice.IntN(2) == 0)
		case 6:
			next := *pod
			next.Annotations = map[string]string{"n": time.Now().String()}
			s.mu.Unlock()
			s.pods.Update(&next)
			s.mu.Lock()
		}
		s.mu.Unlock()
	}
	m.set(false)
	s.mu.Lock()
	s.trouble = nil // nobody tells of that
	s.mu.Unlock()
	time.Sleep(6 * time.Minute) // longer than any pause
	synctest.Wait()
	s.settled(t, seed)
}

// settled compares what there is with what is told of it.
func (s *scene) settled(t *testing.T, seed uint64) {
	t.Helper()
	status := s.around.status("u")
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range status.ContainerStatuses {
		c := &status.ContainerStatuses[i]
		run := s.running(c.Name)
		if len(run) != 1 || c.ContainerID != "box://"+run[0].Id || !c.Ready || c.State.Running == nil {
			t.Errorf("seed %d: %d of container %s run, and it is told to be %+v", seed, len(run), c.Name, c)
		}
	}
	ready := 0
	for _, box := range s.sandboxes {
		if box.State == runtimeapi.PodSandboxState_SANDBOX_READY {
			ready++
		}
	}
	if ready != 1 || !isReady(status) {
		t.Errorf("seed %d: %d sandboxes, conditions %+v", seed, ready, status.Conditions)
	}
}

func isReady(s *corev1.PodStatus) bool {
	for _, c := range s.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
