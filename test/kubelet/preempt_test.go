package kubelet

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/test/kubelet/nodetest"
)

// seats gives the node as many of a resource of which nobody else knows.
func seats(t *testing.T, name string, n int) corev1.ResourceName {
	t.Helper()
	resource := "example.com/" + name
	set := func(ctx context.Context, value string) error {
		patch := fmt.Sprintf(`{"status":{"capacity":{%q:%s},"allocatable":{%q:%s}}}`, resource, value, resource, value)
		_, err := node.Client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
		return err
	}
	if err := set(t.Context(), fmt.Sprintf("%q", fmt.Sprint(n))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set(context.Background(), "null"); err != nil {
			t.Error(err)
		}
	})
	return corev1.ResourceName(resource)
}

// seated is a pod that takes one seat.
func seated(name, class string, seat corev1.ResourceName) *corev1.Pod {
	p := pod(name, "wait")
	p.Spec.PriorityClassName = class
	one := corev1.ResourceList{seat: quantity("1")}
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: one, Limits: one}
	return p
}

// TestPreemption: a critical pod for which there is no room has another ended;
// one that is not critical is refused.
func TestPreemption(t *testing.T) {
	t.Parallel()
	seat := seats(t, "seat", 1)
	// The kubelet learns of the seat by its own watch.
	nodetest.Until(t, "a pod takes the seat", func() error {
		p := seated("sits", "", seat)
		if _, err := node.Client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			return err
		}
		if p = wait(t, "sits", "decided", func(p *corev1.Pod) bool { return p.Status.Phase != corev1.PodPending }); p.Status.Phase == corev1.PodRunning {
			return nil
		}
		if err := node.Client.CoreV1().Pods("default").Delete(t.Context(), "sits", metav1.DeleteOptions{}); err != nil {
			return err
		}
		gone(t, p)
		return fmt.Errorf("refused: %s", p.Status.Message)
	})
	t.Cleanup(func() {
		if err := node.Client.CoreV1().Pods("default").Delete(context.Background(), "sits", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	create(t, seated("common", "", seat))
	if p := wait(t, "common", "refused", phase(corev1.PodFailed)); p.Status.Reason != "OutOf"+string(seat) {
		t.Errorf("a common pod: %s %s", p.Status.Reason, p.Status.Message)
	}
	create(t, seated("critical", "system-cluster-critical", seat))
	wait(t, "critical", "running", phase(corev1.PodRunning))
	p := wait(t, "sits", "failed", phase(corev1.PodFailed))
	if p.Status.Reason != "Preempting" || p.Status.Message != "Preempted in order to admit critical pod" {
		t.Errorf("the pod that sat says %q, %q", p.Status.Reason, p.Status.Message)
	}
	i := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget })
	if i < 0 || p.Status.Conditions[i].Reason != corev1.PodReasonTerminationByKubelet || p.Status.Conditions[i].Message != "Pod was preempted by Kubelet to accommodate a critical pod." {
		t.Errorf("and has the conditions %+v", p.Status.Conditions)
	}
	told(t, "sits", "Preempted in order to admit critical pod")
	create(t, seated("second", "system-cluster-critical", seat))
	if p := wait(t, "second", "refused", phase(corev1.PodFailed)); p.Status.Reason != "UnexpectedAdmissionError" {
		t.Errorf("a second critical pod: %s %s", p.Status.Reason, p.Status.Message)
	}
}
