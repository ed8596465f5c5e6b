package scheduling

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/client"
	"xebec.dev/scheduler/workload"
)

// The short twins of the benchmarks' workloads: all pods are bound, and what
// they ask for holds.
func TestWorkloads(t *testing.T) {
	for _, c := range workload.Cases(10) {
		if c.Evicts {
			continue // TestPreemption has evictions
		}
		t.Run(c.Name, func(t *testing.T) {
			e := setup(t)
			zones := map[string]string{}
			for _, n := range c.NodeList() {
				n.UID = ""
				zones[n.Name] = must(e, n).Labels[corev1.LabelTopologyZone]
			}
			for _, s := range c.Services {
				s = s.DeepCopy()
				s.UID = ""
				must(e, s)
				defer func() { _ = client.Delete[*corev1.Service](e.ctx, e.c, s.Namespace, s.Name) }()
			}
			create := func(n int, pod func(int) *corev1.Pod) {
				for i := range n {
					p := pod(i)
					p.UID, p.Status = "", corev1.PodStatus{}
					must(e, p)
				}
			}
			create(c.Init, c.InitPod)
			create(c.Measured, c.Pod)
			check(e, e.all(c.Init+c.Measured), zones)
		})
	}
}

// all waits until so many pods are bound.
func (e *env) all(want int) []*corev1.Pod {
	e.Helper()
	var pods []*corev1.Pod
	bound := 0
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		pods, bound = nil, 0
		for _, ns := range []string{"t", "sched-0", "sched-1"} {
			list, _, err := client.List[*corev1.Pod](e.ctx, e.c, client.Selection{Namespace: ns})
			if err != nil {
				e.Fatal(err)
			}
			pods = append(pods, list...)
		}
		for _, p := range pods {
			if p.Spec.NodeName != "" {
				bound++
			}
		}
		if bound == want {
			return pods
		}
	}
	for _, p := range pods {
		if p.Spec.NodeName == "" {
			e.Logf("%s: %s", p.Name, scheduledCondition(p).Message)
		}
	}
	e.Fatalf("%d of %d pods bound", bound, want)
	return nil
}

func check(e *env, pods []*corev1.Pod, zones map[string]string) {
	e.Helper()
	green, blue, on := map[string]int{}, map[string]int{}, map[string]int{}
	spread := false
	for _, p := range pods {
		on[p.Spec.NodeName]++
		if p.Labels["color"] == "green" {
			green[p.Spec.NodeName]++
		}
		for _, t := range p.Spec.TopologySpreadConstraints {
			spread = spread || t.WhenUnsatisfiable == corev1.DoNotSchedule
		}
		if p.Labels["color"] == "blue" {
			blue[zones[p.Spec.NodeName]]++
		}
	}
	for node, n := range on {
		if n > 40 {
			e.Errorf("node %s has %d pods of 100m CPU on 4 CPUs", node, n)
		}
	}
	for node, n := range green {
		if n > 1 && e.Name() == "TestWorkloads/SchedulingPodAntiAffinity" {
			e.Errorf("node %s has %d pods that repel each other", node, n)
		}
	}
	if spread {
		low, high := len(pods), 0
		for i := range 3 {
			n := blue[fmt.Sprintf("zone%d", i+1)]
			low, high = min(low, n), max(high, n)
		}
		if high-low > 5 {
			e.Errorf("zones differ by %d: %v", high-low, blue)
		}
	}
}
