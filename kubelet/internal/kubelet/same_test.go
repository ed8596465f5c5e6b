package kubelet

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What only says back what the kubelet wrote is no news.
func TestSameButStatus(t *testing.T) {
	now, seconds := metav1.Now(), int64(5)
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
		want   bool
	}{
		{"nothing", func(*corev1.Pod) {}, true},
		{"its status", func(p *corev1.Pod) { p.Status.Phase, p.ResourceVersion = corev1.PodRunning, "2" }, true},
		{"a label", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }, false},
		{"an annotation", func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }, false},
		{"a new generation", func(p *corev1.Pod) { p.Generation, p.Spec.Hostname = 2, "x" }, false},
		{"a specification without generations", func(p *corev1.Pod) { p.Generation, p.Spec.Hostname = 0, "x" }, false},
		{"deletion", func(p *corev1.Pod) { p.DeletionTimestamp = &now }, false},
		{"less time to end", func(p *corev1.Pod) { p.DeletionGracePeriodSeconds = &seconds }, false},
		{"a gate, which others open in the status", func(p *corev1.Pod) { p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "x"}} }, false},
	} {
		a := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Generation: 1}}
		b := a.DeepCopy()
		c.change(b)
		if got := sameButStatus(a, b); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
