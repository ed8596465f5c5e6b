package scheduling

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/client"
)

// ends lets a deleted pod go, as its kubelet would.
func (e *env) ends(name string) {
	e.Helper()
	zero := int64(0)
	err := client.Delete[*corev1.Pod](e.ctx, e.c, "t", name, client.DeleteOptions{GracePeriod: &zero})
	if err != nil && !apierrors.IsNotFound(err) {
		e.Fatal(err)
	}
}

func (e *env) exists(name string) bool {
	e.Helper()
	p, err := client.Get[*corev1.Pod](e.ctx, e.c, "t", name)
	if apierrors.IsNotFound(err) {
		return false
	}
	if err != nil {
		e.Fatal(err)
	}
	return p.DeletionTimestamp == nil
}

// SC-4d79: the lowest goes, the others stay; the preemptor is nominated while
// the victim ends, and the victim says why it ends.
func TestPreemption(t *testing.T) {
	e := setup(t)
	e.class("low", 1, corev1.PreemptLowerPriority)
	e.class("medium", 100, corev1.PreemptLowerPriority)
	e.class("high", 1000, corev1.PreemptLowerPriority)
	e.class("polite", 1000, corev1.PreemptNever)
	e.node("n1", nil)
	e.node("n2", nil)
	hostA := func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "n1"} }
	hostB := func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "n2"} }
	e.pod("low-1", cpu("3"), priority("low"), hostA)
	e.pod("medium-2", cpu("3"), priority("medium"), hostB)
	e.bound("low-1")
	e.bound("medium-2")
	e.pod("polite", cpu("2"), priority("polite"))
	e.pending("polite", "Unschedulable", "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never.")
	e.ends("polite")
	e.pod("preemptor", cpu("2"), priority("high"))
	p := e.until("t", "preemptor", "nominated", func(p *corev1.Pod) bool { return p.Status.NominatedNodeName != "" || p.Spec.NodeName != "" })
	if n := p.Status.NominatedNodeName; n != "n1" && p.Spec.NodeName == "" {
		t.Errorf("nominated to %q, want n1", n)
	}
	victim := e.until("t", "low-1", "evicted", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	why := ""
	for _, c := range victim.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			why = c.Reason + ": " + c.Message
		}
	}
	if want := "PreemptionByScheduler: default-scheduler: preempting to accommodate a higher priority pod"; why != want {
		t.Errorf("the victim's condition is %q, want %q", why, want)
	}
	e.event("low-1", "Preempted", "Preempted by pod "+string(p.UID)+" on node n1")
	// While the victim ends its place is kept from lesser pods.
	e.pod("latecomer", cpu("3500m"), priority("low"), hostA)
	e.pending("latecomer", "Unschedulable", "")
	e.ends("low-1")
	if p := e.bound("preemptor"); p.Spec.NodeName != "n1" {
		t.Errorf("the preemptor is on %q", p.Spec.NodeName)
	}
	if !e.exists("medium-2") {
		t.Error("more pods were evicted than needed")
	}
}

// Budgets are kept where there is a choice.
func TestPreemptionWithBudgets(t *testing.T) {
	e := setup(t)
	e.class("low", 1, corev1.PreemptLowerPriority)
	e.class("high", 1000, corev1.PreemptLowerPriority)
	e.node("n1", nil)
	e.node("n2", nil)
	host := func(n string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: n} }
	}
	e.pod("guarded", cpu("3"), priority("low"), label("app", "guarded"), host("n1"))
	e.pod("open", cpu("3"), priority("low"), label("app", "open"), host("n2"))
	e.bound("guarded")
	e.bound("open")
	one := intstr.FromInt32(1)
	must(e, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "t", Name: "guard"}, Spec: policyv1.PodDisruptionBudgetSpec{
		MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "guarded"}},
	}})
	t.Cleanup(func() { _ = client.Delete[*policyv1.PodDisruptionBudget](e.ctx, e.c, "t", "guard") })
	e.pod("preemptor", cpu("2"), priority("high"))
	e.until("t", "open", "evicted", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if !e.exists("guarded") {
		t.Error("the pod with a budget was evicted")
	}
	e.ends("open")
	if p := e.bound("preemptor"); p.Spec.NodeName != "n2" {
		t.Errorf("the preemptor is on %q", p.Spec.NodeName)
	}
}
