package worker

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/status"
)

// one place: the node takes a single pod, and a critical one in the place of
// another.
func onePlace(pod *corev1.Pod, others []*corev1.Pod, going map[types.UID]Going) Decision {
	if len(others) == 0 {
		return Decision{}
	}
	if pod.Name != "critical" {
		return Decision{Refusal: &Refusal{Reason: "OutOfpods", Message: fmt.Sprintf("%d pods", len(others))}}
	}
	d := Decision{Wait: true, Short: "pods"}
	for _, o := range others {
		switch going[o.UID] {
		case Late:
			return Decision{Refusal: &Refusal{Reason: "UnexpectedAdmissionError", Message: "nobody can be preempted"}}
		case Stays:
			d.Victims = append(d.Victims, o)
		}
	}
	return d
}

func named(t *testing.T, name string) *corev1.Pod {
	return readPod(t, `{metadata: {name: `+name+`, namespace: ns, uid: `+name+`}, spec: {dnsPolicy: None, containers: [{name: main, image: here}]}}`)
}

// A critical pod has another ended, waits until it has, and lets nobody in
// before itself.
func TestPreempt(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		var events, short []string
		s.pods.o.Admit = onePlace
		s.pods.o.Preempted = func(resource string) { short = append(short, resource) }
		s.pods.o.Events = func(pod *corev1.Pod, _, kind, reason, message string) {
			if reason == "Preempting" {
				events = append(events, pod.Name+" "+kind+" "+message)
			}
		}
		s.slow = 20 * time.Second
		s.pods.Update(named(t, "common"))
		time.Sleep(time.Second)
		s.pods.Update(named(t, "critical"))
		time.Sleep(5 * time.Second)
		s.pods.Update(named(t, "late"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := s.around.status("critical"); got != nil {
			t.Errorf("before there is room the critical pod is %+v", got)
		}
		if got := s.around.status("late"); got == nil || got.Phase != corev1.PodFailed || got.Reason != "OutOfpods" {
			t.Errorf("one that comes meanwhile is %+v", got)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if got := s.around.status("critical"); got == nil || got.Phase != corev1.PodRunning {
			t.Errorf("the critical pod is %+v", got)
		}
		got := s.around.status("common")
		if got.Phase != corev1.PodFailed || got.Reason != "Preempting" || got.Message != "Preempted in order to admit critical pod" {
			t.Errorf("the other is %+v", got)
		}
		if i := slices.IndexFunc(got.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget }); i < 0 ||
			got.Conditions[i].Reason != "TerminationByKubelet" || got.Conditions[i].Message != "Pod was preempted by Kubelet to accommodate a critical pod." {
			t.Errorf("its conditions are %+v", got.Conditions)
		}
		if want := []string{"common Warning Preempted in order to admit critical pod"}; !slices.Equal(events, want) || !slices.Equal(short, []string{"pods"}) {
			t.Errorf("events %q, for %q", events, short)
		}
	})
}

// One that is deleted while it waits goes.
func TestPreemptInVain(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		s.pods.o.Admit = onePlace
		s.slow = time.Hour
		s.pods.Update(named(t, "common"))
		time.Sleep(time.Second)
		p := named(t, "critical")
		s.pods.Update(p)
		time.Sleep(time.Second)
		deleted := *p
		deleted.DeletionTimestamp, deleted.Status.Phase = &metav1.Time{Time: time.Now()}, corev1.PodPending
		s.pods.Update(&deleted)
		time.Sleep(time.Second)
		s.pods.Remove("critical")
		time.Sleep(time.Second)
		synctest.Wait()
		if s.pods.Known("critical") || s.called("RunPodSandbox") != 1 {
			t.Errorf("it is still known: %t; %d sandboxes were made", s.pods.Known("critical"), s.called("RunPodSandbox"))
		}
	})
}

// Nobody waits for ever for one that does not end: it has its grace period and
// half as much again, and of a shorter one that from when it is given. Who waits is
// told in that moment.
func TestPreemptGivesUp(t *testing.T) {
	second, hour := int64(1), int64(3600)
	for _, c := range []struct {
		name   string
		broken bool // the runtime refuses to stop anything
		less   *int64
		want   time.Duration
	}{
		{"it hangs", false, nil, 45 * time.Second},
		{"the runtime fails", true, nil, 45 * time.Second},
		{"it has less time in the end", false, &second, 5*time.Second + leastPatience},
		{"it has more", true, &hour, 45 * time.Second},
	} {
		play(t, nil, func(t *testing.T, s *scene) {
			var mu sync.Mutex
			var events []string // guarded by mu
			told := func() []string {
				mu.Lock()
				defer mu.Unlock()
				return slices.Clone(events)
			}
			s.pods.o.Admit = onePlace
			s.pods.o.Events = func(pod *corev1.Pod, _, kind, reason, message string) {
				mu.Lock()
				defer mu.Unlock()
				if reason == "ExceededGracePeriod" {
					events = append(events, pod.Name+" "+kind+" "+message)
				}
			}
			s.pods.Update(named(t, "common"))
			time.Sleep(time.Second)
			if s.slow = 2 * time.Hour; c.broken {
				s.slow = 0
				s.mu.Lock()
				s.trouble = func(call string) error {
					if call == "StopContainer" || call == "StopPodSandbox" {
						return grpcstatus.Error(codes.Internal, "it won't")
					}
					return nil
				}
				s.mu.Unlock()
			}
			s.pods.Update(named(t, "critical"))
			time.Sleep(5 * time.Second)
			if c.less != nil {
				s.pods.workers["common"].evict(status.Verdict{}, c.less)
			}
			time.Sleep(c.want - 5*time.Second - time.Millisecond)
			synctest.Wait()
			if got := s.around.status("critical"); got != nil || len(told()) != 0 {
				t.Errorf("%s: too early the critical pod is %+v, events %q", c.name, got, told())
			}
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			if got := s.around.status("critical"); got == nil || got.Reason != "UnexpectedAdmissionError" {
				t.Errorf("%s: the critical pod is %+v", c.name, got)
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if want := []string{"common Warning Container runtime did not kill the pod within specified grace period."}; !slices.Equal(told(), want) {
				t.Errorf("%s: events %q", c.name, told())
			}
		})
	}
}

// One that may take as long as it likes is waited for.
func TestPreemptPatiently(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		s.pods.o.Admit = onePlace
		s.slow = 2 * time.Hour
		p, long := named(t, "common"), int64(math.MaxInt64)
		p.Spec.TerminationGracePeriodSeconds = &long
		s.pods.Update(p)
		time.Sleep(time.Second)
		s.pods.Update(named(t, "critical"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := s.around.status("critical"); got != nil {
			t.Errorf("while the other ends the critical pod is %+v", got)
		}
	})
}

// Nobody is told that one was ended who had ended.
func TestPreemptTooLate(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		var told []string
		s.pods.o.Preempted = func(resource string) { told = append(told, resource) }
		s.pods.o.Events = func(pod *corev1.Pod, _, _, reason, _ string) {
			if reason == "Preempting" {
				told = append(told, pod.Name)
			}
		}
		asked := false
		s.pods.o.Admit = func(pod *corev1.Pod, _ []*corev1.Pod, _ map[types.UID]Going) Decision {
			if pod.Name != "critical" || asked {
				return Decision{}
			}
			asked = true
			return Decision{Wait: true, Short: "cpu", Victims: []*corev1.Pod{named(t, "gone"), named(t, "over"), named(t, "stays")}}
		}
		s.succeed(t, "over")
		s.pods.Update(named(t, "stays"))
		time.Sleep(time.Second)
		s.pods.Update(named(t, "critical"))
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []string{"stays", "cpu"}; !slices.Equal(told, want) {
			t.Errorf("told %q", told)
		}
	})
}

// Others who wait may have the room that was kept for one that is refused.
func TestRefusedAfterAll(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		var refuse atomic.Bool
		s.pods.o.Admit = func(pod *corev1.Pod, others []*corev1.Pod, _ map[types.UID]Going) Decision {
			switch {
			case pod.Name == "other" && len(others) > 0:
				return Decision{Wait: true}
			case pod.Name == "critical" && refuse.Load():
				return Decision{Refusal: &Refusal{Reason: "NodeAffinity"}}
			case pod.Name == "critical":
				return Decision{Wait: true}
			}
			return Decision{}
		}
		s.pods.Update(named(t, "critical"))
		time.Sleep(time.Second)
		s.pods.Update(named(t, "other"))
		time.Sleep(time.Second)
		refuse.Store(true)
		s.pods.Update(named(t, "critical"))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := s.around.status("critical"); got == nil || got.Reason != "NodeAffinity" {
			t.Errorf("the critical pod is %+v", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := s.around.status("other"); got == nil || got.Phase != corev1.PodRunning {
			t.Errorf("the other is %+v", got)
		}
	})
}
