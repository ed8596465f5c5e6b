package noderesources

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/workload"
)

func list(pairs ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		l[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return l
}

func asks(l corev1.ResourceList) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = l }
}

// cluster has a node of 4 CPUs and 8 GiB with a pod of 1 CPU and 2 GiB.
func cluster(t *testing.T, alloc corev1.ResourceList) (*cache.Cluster, *cache.Node) {
	t.Helper()
	c := cache.New()
	n := workload.Node("n", nil)
	n.Status.Allocatable = alloc
	c.SetNode(n)
	c.Place(c.NewPod(workload.Pod("t", "there", asks(list("cpu", "1", "memory", "2Gi")))), "n")
	return c, c.Node("n")
}

func TestFit(t *testing.T) {
	c, n := cluster(t, list("cpu", "4", "memory", "8Gi", "pods", "2", "example.com/gpu", "1", "ephemeral-storage", "10Gi"))
	for _, tt := range []struct {
		name string
		pod  func(*corev1.Pod)
		pl   Fit
		want string
		code framework.Code
	}{
		{name: "fits", pod: asks(list("cpu", "3", "memory", "6Gi"))},
		{name: "cpu", pod: asks(list("cpu", "3500m")), want: "Insufficient cpu", code: framework.Unschedulable},
		{name: "both", pod: asks(list("cpu", "3500m", "memory", "7Gi")), want: "Insufficient cpu, Insufficient memory", code: framework.Unschedulable},
		{name: "never", pod: asks(list("cpu", "5")), want: "Insufficient cpu", code: framework.Unresolvable},
		{name: "extended", pod: asks(list("example.com/gpu", "1"))},
		{name: "unknown", pod: asks(list("example.com/tpu", "1")), want: "Insufficient example.com/tpu", code: framework.Unresolvable},
		{name: "ignored", pod: asks(list("example.com/tpu", "1")), pl: Fit{IgnoredGroups: map[string]bool{"example.com": true}}},
		{name: "storage", pod: asks(list("ephemeral-storage", "11Gi")), want: "Insufficient ephemeral-storage", code: framework.Unresolvable},
		{name: "init", pod: func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: list("cpu", "3500m")}}}
		}, want: "Insufficient cpu", code: framework.Unschedulable},
		{name: "sidecar", pod: func(p *corev1.Pod) {
			always := corev1.ContainerRestartPolicyAlways
			p.Spec.InitContainers = []corev1.Container{{RestartPolicy: &always, Resources: corev1.ResourceRequirements{Requests: list("cpu", "2950m")}}}
		}, want: "Insufficient cpu", code: framework.Unschedulable},
		{name: "overhead", pod: func(p *corev1.Pod) { p.Spec.Overhead = list("cpu", "3") }, want: "Insufficient cpu", code: framework.Unschedulable},
		{name: "pod level", pod: func(p *corev1.Pod) {
			p.Spec.Resources = &corev1.ResourceRequirements{Requests: list("cpu", "3500m")}
		}, want: "Insufficient cpu", code: framework.Unschedulable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			compiled, st := tt.pl.PreFilter(c, c.NewPod(workload.Pod("t", "p", tt.pod)))
			if st != nil {
				t.Fatal(st)
			}
			st = compiled.Filter.Filter(n)
			if st.Message() != tt.want || st != nil && st.Code != tt.code {
				t.Errorf("got %v, want %v %q", st, tt.code, tt.want)
			}
		})
	}
	c.Place(c.NewPod(workload.Pod("t", "second", asks(nil))), "n")
	compiled, _ := (&Fit{}).PreFilter(c, c.NewPod(workload.Pod("t", "p", asks(nil))))
	if st := compiled.Filter.Filter(n); st.Message() != "Too many pods" {
		t.Errorf("a full node: %v", st)
	}
}

func TestStrategies(t *testing.T) {
	both := []Weight{{"cpu", 1}, {"memory", 1}}
	for _, tt := range []struct {
		name string
		s    Strategy
		pod  corev1.ResourceList
		want int64
	}{
		// With the pod 2 of 4 CPUs and 3 of 8 GiB are used.
		{"least", Strategy{Type: LeastAllocated, Resources: both}, list("cpu", "1", "memory", "1Gi"), (50 + 62) / 2},
		{"most", Strategy{Type: MostAllocated, Resources: both}, list("cpu", "1", "memory", "1Gi"), (50 + 37) / 2},
		{"weights", Strategy{Type: MostAllocated, Resources: []Weight{{"cpu", 3}, {"memory", 1}}}, list("cpu", "1", "memory", "1Gi"), (150 + 37) / 4},
		{"unstated counts", Strategy{Type: LeastAllocated, Resources: both}, nil, ((4000-1100)*100/4000 + (8192-2048-200)*100/8192) / 2},
		{"too much", Strategy{Type: LeastAllocated, Resources: both}, list("cpu", "9", "memory", "1Gi"), (0 + 62) / 2},
		{"ratio up", Strategy{Type: RequestedToCapacityRatio, Resources: both, Shape: []Point{{0, 0}, {100, 10}}}, list("cpu", "1", "memory", "1Gi"), 44},
		{"ratio down", Strategy{Type: RequestedToCapacityRatio, Resources: []Weight{{"cpu", 1}}, Shape: []Point{{0, 10}, {50, 10}, {100, 0}}}, list("cpu", "2"), 50},
		{"extended not asked for", Strategy{Type: MostAllocated, Resources: []Weight{{"cpu", 1}, {"example.com/gpu", 5}}}, list("cpu", "1"), 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, n := cluster(t, list("cpu", "4", "memory", "8Gi", "pods", "10", "example.com/gpu", "4"))
			pl := &Fit{Strategy: tt.s}
			scored, st := pl.PreScore(c, c.NewPod(workload.Pod("t", "p", asks(tt.pod))))
			if st != nil {
				t.Fatal(st)
			}
			if got := scored.Score.Score(n); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestBalanced(t *testing.T) {
	c, n := cluster(t, list("cpu", "4", "memory", "8Gi", "pods", "10"))
	pl := &Balanced{Resources: []Weight{{"cpu", 1}, {"memory", 1}}}
	for _, tt := range []struct {
		pod  corev1.ResourceList
		want int64
	}{
		{list("cpu", "1", "memory", "2Gi"), 75}, // a quarter of each, as before
		{list("cpu", "3"), 56},                  // from even to 1 and 1/4
		{list("memory", "6Gi"), 56},
	} {
		scored, st := pl.PreScore(c, c.NewPod(workload.Pod("t", "p", asks(tt.pod))))
		if st != nil {
			t.Fatal(st)
		}
		if got := scored.Score.Score(n); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.pod, got, tt.want)
		}
	}
	if _, st := pl.PreScore(c, c.NewPod(workload.Pod("t", "p", asks(nil)))); !st.Is(framework.Skip) {
		t.Errorf("a pod that asks for nothing: %v", st)
	}
}

func TestFitHints(t *testing.T) {
	c := cache.New()
	pl := &Fit{}
	p := c.NewPod(workload.Pod("t", "p", asks(list("cpu", "2"))))
	small, large := workload.Node("n", nil), workload.Node("n", nil)
	small.Status.Allocatable = list("cpu", "1", "pods", "10")
	for _, tt := range []struct {
		name     string
		old, now *corev1.Node
		want     framework.Hint
	}{{"small", nil, small, framework.QueueSkip}, {"large", nil, large, framework.Queue}, {"grown", small, large, framework.Queue}, {"same", large, large, framework.QueueSkip}, {"shrunk", large, small, framework.QueueSkip}} {
		e := &framework.Event{New: tt.now}
		if tt.old != nil {
			e.Old = tt.old
		}
		if got := pl.roomy(c, p, e); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	big, less := c.NewPod(workload.Pod("t", "o", asks(list("cpu", "2")))), c.NewPod(workload.Pod("t", "o", asks(list("cpu", "1"))))
	if pl.freed(c, p, &framework.Event{Old: big, New: less}) != framework.Queue || pl.freed(c, p, &framework.Event{Old: less, New: big}) != framework.QueueSkip {
		t.Error("resized pods")
	}
}
