package admission

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestResize(t *testing.T) {
	self := pod("500m", nil)
	self.UID = "self"
	for _, c := range []struct {
		name, cpu, reason, message string
		others                     []string
	}{
		{"it fits", "1500m", "", "", []string{"500m"}},
		{"less always fits", "100m", "", "", []string{"1500m"}},
		{"it would without the others", "1500m", "Deferred", "Node didn't have enough resource: cpu, requested: 1500, used: 600, capacity: 2000", []string{"100m", "500m"}},
		{"it never will", "3", "Infeasible", "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := pod(c.cpu, nil)
			want.UID = self.UID
			others := []*corev1.Pod{self} // what it has now does not count against it
			for _, cpu := range c.others {
				others = append(others, pod(cpu, nil))
			}
			reason, message := Resize(Input{Pod: want, Others: others, Node: node()})
			if reason != c.reason || message != c.message {
				t.Errorf("%s: %s", reason, message)
			}
		})
	}
}
