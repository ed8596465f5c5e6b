package kubelet

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/test/kubelet/nodetest"
)

// TestNeverReady: of containers whose probes never succeed nobody is told that
// they are ready, not for a moment, however many start at once.
func TestNeverReady(t *testing.T) {
	const many = 12
	w, err := node.Client.CoreV1().Pods("default").Watch(t.Context(), metav1.ListOptions{LabelSelector: "never=ready"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for i := range many {
		p := always(pod(fmt.Sprintf("never-%d", i), "wait"))
		p.Labels = map[string]string{"never": "ready"}
		c := &p.Spec.Containers[0]
		c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/no-such-program"}}}}
		second := *c
		second.Name, second.ReadinessProbe = "late", nil
		second.StartupProbe = &corev1.Probe{ProbeHandler: c.ReadinessProbe.ProbeHandler, FailureThreshold: 1000}
		p.Spec.Containers = append(p.Spec.Containers, second)
		create(t, p)
	}
	for i := range many {
		wait(t, fmt.Sprintf("never-%d", i), "running", func(p *corev1.Pod) bool {
			return p.Status.Phase == corev1.PodRunning && status(p, "main").State.Running != nil && status(p, "late").State.Running != nil
		})
	}
	// What was told before a change of labels has been seen once that has.
	nodetest.Until(t, "the last pod is labelled", func() error {
		p := get(t, fmt.Sprintf("never-%d", many-1))
		p.Labels["seen"] = "all"
		_, err := node.Client.CoreV1().Pods("default").Update(t.Context(), p, metav1.UpdateOptions{})
		return err
	})
	for e := range w.ResultChan() {
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			t.Fatalf("the watch says %v", e)
		}
		if main, late := status(p, "main"), status(p, "late"); ready(p) || main.Ready || late.Ready || late.Started != nil && *late.Started {
			t.Errorf("pod %s at %s: ready %t, containers %t %t, the second started", p.Name, p.ResourceVersion, ready(p), main.Ready, late.Ready)
		}
		if p.Labels["seen"] == "all" {
			return
		}
	}
	t.Error("the watch ended")
}
