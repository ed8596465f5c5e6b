// Package workload makes the nodes and pods of the usual benchmarks of
// schedulers, for benchmarks and tests.
package workload

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Node is a node of 4 CPUs, 32 GiB and 110 pods with labels.
func Node(name string, labels map[string]string) *corev1.Node {
	all := map[string]string{corev1.LabelHostname: name}
	for k, v := range labels {
		all[k] = v
	}
	l := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("32Gi"), corev1.ResourcePods: resource.MustParse("110")}
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("node-" + name), Labels: all}, Status: corev1.NodeStatus{Capacity: l, Allocatable: l}}
}

// Pod is a pod of 100m CPU and 500Mi with one container.
func Pod(namespace, name string, change ...func(*corev1.Pod)) *corev1.Pod {
	l := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("500Mi")}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name)},
		Spec: corev1.PodSpec{SchedulerName: corev1.DefaultSchedulerName, Containers: []corev1.Container{{
			Name: "pause", Image: "registry.k8s.io/pause:3.10", Ports: []corev1.ContainerPort{{ContainerPort: 80}},
			Resources: corev1.ResourceRequirements{Requests: l, Limits: l},
		}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

// Case is a benchmark: nodes, pods that are there before, pods measured.
type Case struct {
	Name     string
	Nodes    int
	Init     int
	Measured int
	Zones    int // 0: nodes have no zone
	InitPod  func(i int) *corev1.Pod
	Pod      func(i int) *corev1.Pod
	Services []*corev1.Service
	// Evicts: measured pods need others to go, whose priority is not of any
	// class, so the case is for decisions alone.
	Evicts bool
}

// NodeList is the nodes of a case.
func (c *Case) NodeList() []*corev1.Node {
	out := make([]*corev1.Node, c.Nodes)
	for i := range out {
		var l map[string]string
		if c.Zones > 0 {
			l = map[string]string{corev1.LabelTopologyZone: fmt.Sprintf("zone%d", i%c.Zones+1)}
		}
		out[i] = Node(fmt.Sprintf("node-%05d", i), l)
	}
	return out
}

func plain(namespace, prefix string, change ...func(*corev1.Pod)) func(int) *corev1.Pod {
	return func(i int) *corev1.Pod { return Pod(namespace, fmt.Sprintf("%s-%06d", prefix, i), change...) }
}

func labels(k, v string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = map[string]string{k: v} }
}

func term(key, k, v string) corev1.PodAffinityTerm {
	return corev1.PodAffinityTerm{TopologyKey: key, Namespaces: []string{"sched-0", "sched-1"}, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{k: v}}}
}

// AntiAffinity allows one green pod per node.
func AntiAffinity(p *corev1.Pod) {
	p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term(corev1.LabelHostname, "color", "green")}}}
}

// Affinity wants blue pods in the zone.
func Affinity(p *corev1.Pod) {
	p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term(corev1.LabelTopologyZone, "color", "blue")}}}
}

// PreferAffinity and PreferAntiAffinity prefer hosts by their pods.
func PreferAffinity(p *corev1.Pod) {
	p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 1, PodAffinityTerm: term(corev1.LabelHostname, "color", "red")}}}}
}

// PreferAntiAffinity is described with PreferAffinity.
func PreferAntiAffinity(p *corev1.Pod) {
	p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 1, PodAffinityTerm: term(corev1.LabelHostname, "color", "yellow")}}}}
}

// NodeAffinity wants the first zone or the second.
func NodeAffinity(p *corev1.Pod) {
	p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{"zone1", "zone2"}}}}}}}}
}

// Spread spreads blue pods over zones, or prefers to.
func Spread(action corev1.UnsatisfiableConstraintAction) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 5, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: action,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"color": "blue"}},
		}}
	}
}

// Cases of the given size: nodes, and pods measured where the usual case has
// as many as twice the nodes.
func Cases(nodes int) []Case {
	n := nodes
	color := func(c string) func(*corev1.Pod) { return labels("color", c) }
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "sched-1", Name: "app", UID: "svc"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}}}
	return []Case{
		{Name: "SchedulingBasic", Nodes: n, Init: n / 5, Measured: 2 * n, InitPod: plain("sched-0", "init"), Pod: plain("sched-1", "pod")},
		{Name: "SchedulingPodAntiAffinity", Nodes: n, Init: n / 5, Measured: n * 2 / 5, InitPod: plain("sched-0", "init", color("green"), AntiAffinity), Pod: plain("sched-1", "pod", color("green"), AntiAffinity)},
		{Name: "SchedulingPodMatchingAntiAffinity", Nodes: n, Init: n / 5, Measured: n, InitPod: plain("sched-0", "init", color("green"), AntiAffinity), Pod: plain("sched-1", "pod", color("green"))},
		{Name: "SchedulingPodAffinity", Nodes: n, Zones: 1, Init: n, Measured: n, InitPod: plain("sched-0", "init", color("blue"), Affinity), Pod: plain("sched-1", "pod", color("blue"), Affinity)},
		{Name: "SchedulingPreferredPodAffinity", Nodes: n, Init: n, Measured: n, InitPod: plain("sched-0", "init", color("red"), PreferAffinity), Pod: plain("sched-1", "pod", color("red"), PreferAffinity)},
		{Name: "SchedulingPreferredPodAntiAffinity", Nodes: n, Init: n, Measured: n, InitPod: plain("sched-0", "init", color("yellow"), PreferAntiAffinity), Pod: plain("sched-1", "pod", color("yellow"), PreferAntiAffinity)},
		{Name: "SchedulingNodeAffinity", Nodes: n, Zones: 1, Init: n, Measured: 2 * n, InitPod: plain("sched-0", "init", NodeAffinity), Pod: plain("sched-1", "pod", NodeAffinity)},
		{Name: "TopologySpreading", Nodes: n, Zones: 3, Init: n, Measured: n, InitPod: plain("sched-0", "init"), Pod: plain("sched-1", "pod", color("blue"), Spread(corev1.DoNotSchedule))},
		{Name: "PreferredTopologySpreading", Nodes: n, Zones: 3, Init: n, Measured: n, InitPod: plain("sched-0", "init"), Pod: plain("sched-1", "pod", color("blue"), Spread(corev1.ScheduleAnyway))},
		{Name: "DefaultTopologySpreading", Nodes: n, Zones: 3, Init: n, Measured: 2 * n, InitPod: plain("sched-0", "init"), Pod: plain("sched-1", "pod", labels("app", "web")), Services: []*corev1.Service{service}},
		{Name: "PreemptionBasic", Nodes: n / 5, Init: n / 5 * 4, Measured: n / 5, Evicts: true, InitPod: plain("sched-0", "low", priority(0, "900m")), Pod: plain("sched-1", "high", priority(100, "3"))},
		{Name: "SchedulingDaemonset", Nodes: n, Init: 1, Measured: 2 * n, InitPod: plain("sched-0", "init"), Pod: daemon(n)},
		{Name: "MixedSchedulingBasePod", Nodes: n, Zones: 1, Init: n * 2, Measured: n, InitPod: mixed(), Pod: plain("sched-1", "pod")},
	}
}

func priority(p int32, cpu string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.Priority = &p
		pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}
	}
}

// daemon is pods that each name their node, as a DaemonSet's do.
func daemon(nodes int) func(int) *corev1.Pod {
	return func(i int) *corev1.Pod {
		return Pod("sched-1", fmt.Sprintf("daemon-%06d", i), func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
					Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{fmt.Sprintf("node-%05d", i%nodes)}}}}}}}}
		})
	}
}

func mixed() func(int) *corev1.Pod {
	kinds := []func(int) *corev1.Pod{
		plain("sched-0", "base"), plain("sched-0", "affinity", labels("color", "blue"), Affinity),
		plain("sched-0", "anti", labels("color", "green"), AntiAffinity),
		plain("sched-0", "prefer", labels("color", "red"), PreferAffinity), plain("sched-0", "preferanti", labels("color", "yellow"), PreferAntiAffinity),
	}
	return func(i int) *corev1.Pod {
		// One anti-affinity pod per node is all there is room for.
		return kinds[i%len(kinds)](i)
	}
}
