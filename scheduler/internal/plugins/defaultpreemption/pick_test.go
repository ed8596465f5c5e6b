package defaultpreemption

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/workload"
)

// Each rule decides where those before it are tied.
func TestPick(t *testing.T) {
	c := cache.New()
	n := 0
	victim := func(priority int32, started int64) *cache.Pod {
		n++
		return c.NewPod(workload.Pod("t", fmt.Sprint(n), func(p *corev1.Pod) {
			p.Spec.Priority = &priority
			p.Status.StartTime = &metav1.Time{Time: time.Unix(started, 0)}
		}))
	}
	node := func(name string, violations int, victims ...*cache.Pod) candidate {
		return candidate{node: &cache.Node{Name: name}, violations: violations, victims: victims}
	}
	for _, tt := range []struct {
		name string
		list []candidate
		want string
	}{
		{"fewest violations", []candidate{node("a", 1, victim(1, 0)), node("b", 0, victim(9, 0))}, "b"},
		{"lowest highest priority", []candidate{node("a", 0, victim(5, 0)), node("b", 0, victim(4, 0), victim(4, 0))}, "b"},
		{"lowest sum", []candidate{node("a", 0, victim(5, 0), victim(3, 0)), node("b", 0, victim(5, 0), victim(2, 0))}, "b"},
		{"fewer are a lower sum, whatever the sign", []candidate{node("a", 0, victim(0, 0), victim(-5, 0)), node("b", 0, victim(0, 0))}, "b"},
		{"latest start", []candidate{node("a", 0, victim(5, 10)), node("b", 0, victim(5, 20))}, "b"},
		{"first", []candidate{node("a", 0, victim(5, 10)), node("b", 0, victim(5, 10))}, "a"},
	} {
		if got := pick(tt.list, time.Unix(100, 0)).node.Name; got != tt.want {
			t.Errorf("%s: got %s", tt.name, got)
		}
	}
}
