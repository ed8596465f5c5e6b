package loop

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/workload"
)

// What was decided under one leadership is not carried out once that is lost,
// nor in another: the pod is decided about anew.
func TestDecisionsEndWithLeadership(t *testing.T) {
	for _, again := range []bool{false, true} { // leads again before the write ends
		synctest.Test(t, func(t *testing.T) {
			s := &server{hold: make(chan struct{})}
			l := start(t, s, Options{})
			p := workload.Pod("t", "p")
			l.addPod(p)
			synctest.Wait()
			l.addNode("n")
			time.Sleep(2 * time.Second)
			synctest.Wait() // the node is chosen, the status write is held
			l.LeadNoMore()
			time.Sleep(time.Hour)
			// Only the other node has room now, for the decision that is to come.
			l.addNode("m")
			l.Post(func() { l.Cluster.RemoveNode("n") })
			if again {
				l.Lead(true)
			}
			synctest.Wait()
			close(s.hold)
			synctest.Wait()
			if again {
				expect(t, s.bindings(), "3602s p to m")
				return
			}
			expect(t, s.bindings())
			l.sync(func() {
				if n := l.Cluster.PlacedLen(); n != 0 || len(l.assumed) != 0 || l.bindings != 0 {
					t.Errorf("left: %d placed, %d assumed, %d bindings", n, len(l.assumed), l.bindings)
				}
			})
			s.mu.Lock()
			expect(t, s.status, "p: no nodes available to schedule pods")
			s.mu.Unlock()
			l.Lead(true)
			synctest.Wait()
			expect(t, s.bindings(), "3602s p to m")
		})
	}
}

// A pod that waits for permission is given up with leadership, at once and
// without a word.
func TestPermissionEndsWithLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := &server{}, &cycle{permit: framework.NewStatus("cycle", framework.Wait)}
		l := start(t, s, Options{})
		l.Post(func() {
			p := l.profiles[corev1.DefaultSchedulerName]
			p.Reserve, p.Permit, p.PreBind = []framework.Reserver{c}, []framework.Permitter{c}, []framework.PreBinder{c}
		})
		l.addNode("n")
		l.addPod(workload.Pod("t", "p"))
		synctest.Wait()
		l.LeadNoMore()
		synctest.Wait()
		expect(t, c.said, "reserve", "permit", "unreserve")
		time.Sleep(time.Hour)
		synctest.Wait()
		expect(t, s.bindings())
		expect(t, s.status)
	})
}

// A victim whose condition was being written when leadership was lost lives,
// until somebody leads and wants its room.
func TestVictimsAreSparedWithLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{hold: make(chan struct{})}
		l := start(t, s, Options{})
		l.addNode("n")
		room := func(name, node string, priority int32) *corev1.Pod {
			return workload.Pod("t", name, func(p *corev1.Pod) {
				p.Spec.NodeName, p.Spec.Priority = node, &priority
				p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("3")}
			})
		}
		l.addPod(room("victim", "n", 0))
		l.addPod(room("p", "", 9))
		synctest.Wait()
		deleted := func(want ...string) {
			t.Helper()
			s.mu.Lock()
			defer s.mu.Unlock()
			expect(t, s.deleted, want...)
		}
		l.LeadNoMore()
		close(s.hold)
		time.Sleep(time.Hour)
		deleted()
		l.Lead(true)
		synctest.Wait()
		deleted("victim")
	})
}
