package schedule

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/config"
	"xebec.dev/scheduler/internal/framework"
)

func profiles(t testing.TB) []*framework.Profile {
	t.Helper()
	cfg, err := config.Load("")
	if err != nil {
		t.Fatal(err)
	}
	out, err := config.Profiles(cfg, config.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// world is a cluster in both implementations, changed at random.
type world struct {
	t     *testing.T
	r     *rand.Rand
	c     *cache.Cluster
	s     *Scheduler
	n     *naive
	last  int
	names []string // of pods placed
}

func (w *world) pick(list ...string) string { return list[w.r.IntN(len(list))] }
func (w *world) chance(percent int) bool    { return w.r.IntN(100) < percent }

func (w *world) node(name string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{}}}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(w.pick("2", "4", "8")), corev1.ResourceMemory: resource.MustParse(w.pick("4Gi", "8Gi")),
		corev1.ResourcePods: resource.MustParse(w.pick("3", "6", "20")),
	}
	if w.chance(30) {
		n.Status.Allocatable["example.com/gpu"] = resource.MustParse("2")
	}
	if w.chance(90) {
		n.Labels[corev1.LabelHostname] = name
		if w.chance(5) {
			n.Labels[corev1.LabelHostname] = "twin"
		}
	}
	if w.chance(85) {
		n.Labels["zone"] = w.pick("a", "b", "c")
	}
	if w.chance(50) {
		n.Labels["rack"] = name // each its own at first
	}
	if w.chance(50) {
		n.Labels["disk"] = w.pick("ssd", "hdd")
	}
	for _, e := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectPreferNoSchedule} {
		if w.chance(15) {
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: w.pick("k1", "k2"), Value: "v", Effect: e})
		}
	}
	n.Spec.Unschedulable = w.chance(5)
	for _, i := range []string{"img:1", "img:2"} {
		if w.chance(40) {
			n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{i}, SizeBytes: 400 << 20})
		}
	}
	return n
}

func (w *world) selector() *metav1.LabelSelector {
	if w.chance(70) {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": w.pick("x", "y", "z")}}
	}
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: w.pick("app", "tier", "rare"), Operator: metav1.LabelSelectorOpExists}}}
}

func (w *world) term() corev1.PodAffinityTerm {
	t := corev1.PodAffinityTerm{LabelSelector: w.selector(), TopologyKey: w.pick("zone", corev1.LabelHostname, "rack")}
	switch w.r.IntN(5) {
	case 0:
		t.Namespaces = []string{"ns1", "ns2"}
	case 1:
		t.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": w.pick("red", "blue")}}
	}
	return t
}

func (w *world) pod() *corev1.Pod {
	w.last++
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.pick("ns1", "ns2"), Name: fmt.Sprintf("p%d", w.last), UID: types.UID(fmt.Sprintf("u%d", w.last)), Labels: map[string]string{}}}
	p.Spec.SchedulerName = corev1.DefaultSchedulerName
	prio := int32(w.r.IntN(3))
	p.Spec.Priority = &prio
	p.Labels["app"] = w.pick("x", "y", "z")
	if w.chance(30) {
		p.Labels["tier"] = w.pick("front", "back")
	}
	p.Labels["unique"] = p.Name // must not keep pods from being alike
	c := corev1.Container{Image: w.pick("img:1", "img:2"), Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{}}}
	if w.chance(80) {
		c.Resources.Requests[corev1.ResourceCPU] = resource.MustParse(w.pick("100m", "500m", "1"))
	}
	if w.chance(60) {
		c.Resources.Requests[corev1.ResourceMemory] = resource.MustParse(w.pick("100Mi", "1Gi"))
	}
	if w.chance(10) {
		c.Resources.Requests["example.com/gpu"] = resource.MustParse("1")
	}
	if w.chance(10) {
		c.Ports = []corev1.ContainerPort{{HostPort: 80, HostIP: w.pick("", "10.0.0.1", "10.0.0.2"), Protocol: corev1.ProtocolTCP}}
	}
	p.Spec.Containers = []corev1.Container{c}
	if w.chance(50) {
		p.Spec.Tolerations = []corev1.Toleration{{Key: w.pick("k1", "k2"), Operator: corev1.TolerationOpExists}}
	}
	if w.chance(15) {
		p.Spec.NodeSelector = map[string]string{"disk": w.pick("ssd", "hdd")}
	}
	w.affinity(p)
	w.constraints(p)
	return p
}

func (w *world) affinity(p *corev1.Pod) {
	a := &corev1.Affinity{}
	if w.chance(15) {
		a.NodeAffinity = &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
			{Weight: 10, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{"ssd"}}}}},
			{Weight: 4, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "rack", Operator: corev1.NodeSelectorOpExists}}}},
		}}
	}
	if w.chance(25) {
		a.PodAffinity = &corev1.PodAffinity{}
		if w.chance(50) {
			a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution = append(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, w.term())
		}
		if w.chance(20) {
			a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution = append(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, w.term())
		}
		a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.WeightedPodAffinityTerm{{Weight: int32(w.r.IntN(9) + 1), PodAffinityTerm: w.term()}}
	}
	if w.chance(25) {
		a.PodAntiAffinity = &corev1.PodAntiAffinity{}
		if w.chance(50) {
			a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution = []corev1.PodAffinityTerm{w.term()}
		}
		a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.WeightedPodAffinityTerm{{Weight: int32(w.r.IntN(9) + 1), PodAffinityTerm: w.term()}}
	}
	p.Spec.Affinity = a
}

func (w *world) constraints(p *corev1.Pod) {
	for w.chance(35) && len(p.Spec.TopologySpreadConstraints) < 3 {
		t := corev1.TopologySpreadConstraint{MaxSkew: int32(1 + w.r.IntN(2)), TopologyKey: w.pick("zone", corev1.LabelHostname, "rack"), LabelSelector: w.selector(), WhenUnsatisfiable: corev1.ScheduleAnyway}
		if w.chance(50) {
			t.WhenUnsatisfiable = corev1.DoNotSchedule
			if w.chance(30) {
				least := int32(1 + w.r.IntN(4))
				t.MinDomains = &least
			}
		}
		honor, ignore := corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore
		if w.chance(40) {
			t.NodeTaintsPolicy = &honor
		}
		if w.chance(20) {
			t.NodeAffinityPolicy = &ignore
		}
		p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, t)
	}
}

// change does one random thing to both implementations.
func (w *world) change() {
	switch k := w.r.IntN(100); {
	case k < 12:
		n := w.node(fmt.Sprintf("n%d", w.r.IntN(12)))
		if len(n.Labels) > 0 && w.chance(20) {
			n.Labels["rack"] = "shared"
		}
		w.c.SetNode(n)
		w.n.nodes[n.Name] = n
	case k < 15:
		name := fmt.Sprintf("n%d", w.r.IntN(12))
		w.c.RemoveNode(name)
		delete(w.n.nodes, name)
	case k < 35 && len(w.names) > 0:
		i := w.r.IntN(len(w.names))
		p := w.n.pods[w.names[i]]
		w.c.Remove(w.c.Placed(p.UID))
		delete(w.n.pods, w.names[i])
		w.names = slices.Delete(w.names, i, i+1)
	case k < 40 && len(w.names) > 0: // a pod gets other labels, or begins to end
		old := w.n.pods[w.names[w.r.IntN(len(w.names))]]
		p := old.DeepCopy()
		if w.chance(50) {
			p.Labels["app"] = w.pick("x", "y", "z")
		} else {
			p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		}
		w.c.Update(w.c.NewPod(p), p.Spec.NodeName)
		w.n.pods[p.Name] = p
	case k < 43:
		ns, l := w.pick("ns1", "ns2"), map[string]string{"team": w.pick("red", "blue")}
		w.c.SetNamespace(ns, l)
		w.n.namespaces[ns] = l
	case k < 46:
		w.nominate()
	}
}

func (w *world) nominate() {
	name := fmt.Sprintf("n%d", w.r.IntN(12))
	if list := w.n.nominated[name]; len(list) > 0 {
		n := w.c.Node(name)
		if n == nil {
			return
		}
		w.c.Withdraw(n.Nominated[0], name)
		w.n.nominated[name] = list[1:]
		return
	}
	if w.n.nodes[name] == nil {
		return
	}
	p := w.pod()
	w.c.Nominate(w.c.NewPod(p), name)
	w.n.nominated[name] = append(w.n.nominated[name], p)
}

// decide compares the decision about a pod, and places the pod.
func (w *world) decide(p *corev1.Pod) {
	d := w.s.Schedule(w.c.NewPod(p), "")
	if len(w.n.nodes) == 0 {
		return
	}
	var feasible []*corev1.Node
	reasons := map[string]int{}
	for _, n := range w.n.nodes {
		v := w.n.verdict(p, n)
		if v == "" {
			feasible = append(feasible, n)
			continue
		}
		for r := range strings.SplitSeq(v, "|") {
			reasons[r]++
		}
	}
	if len(feasible) == 0 {
		if d.Node != "" || d.Diagnosis.PreFilter == "" && !maps.Equal(d.Diagnosis.Reasons, reasons) {
			w.t.Fatalf("step %d, %s: got %v, want no node: %v", w.last, p.Name, d.String(), reasons)
		}
		return
	}
	if d.Node == "" {
		w.t.Fatalf("step %d, %s: got %v, want one of %d nodes", w.last, p.Name, d.String(), len(feasible))
	}
	if !slices.ContainsFunc(feasible, func(n *corev1.Node) bool { return n.Name == d.Node }) {
		w.t.Fatalf("step %d, %s: %s is not feasible: %s", w.last, p.Name, d.Node, w.n.verdict(p, w.n.nodes[d.Node]))
	}
	// A pod nominated to a node is in the way of its choice only after others
	// were considered: the number may differ by such nodes alone.
	if len(w.n.nominatedAll()) == 0 && d.Feasible != len(feasible) {
		w.t.Fatalf("step %d, %s: %d feasible, want %d%s", w.last, p.Name, d.Feasible, len(feasible), w.differences(p))
	}
	if len(feasible) > 1 && len(w.n.nominatedAll()) == 0 {
		scores := w.n.scores(p, feasible)
		best := int64(-1)
		for _, s := range scores {
			best = max(best, s)
		}
		if scores[d.Node] != best || d.Score != best {
			w.t.Fatalf("step %d, %s: %s with score %d (naive %d), want score %d: %v", w.last, p.Name, d.Node, d.Score, scores[d.Node], best, scores)
		}
	}
	placed := p.DeepCopy()
	placed.Spec.NodeName = d.Node
	w.c.Place(w.c.NewPod(placed), d.Node)
	w.n.pods[p.Name] = placed
	w.names = append(w.names, p.Name)
}

// differences lists the nodes on which the two disagree.
func (w *world) differences(p *corev1.Pod) (out string) {
	k := w.s.class(w.c.NewPod(p))
	for n := range w.c.Nodes {
		got, want := k.verdict(n).Message(), w.n.verdict(p, n.Obj)
		if got != want {
			out += fmt.Sprintf("\n%s %v: got %q, want %q", n.Name, n.Obj.Labels, got, want)
		}
	}
	return fmt.Sprintf("%s\n%v\n%v %v", out, p.Labels, p.Spec.Affinity, p.Spec.TopologySpreadConstraints)
}

func (w *naive) nominatedAll() (out []*corev1.Pod) {
	for _, l := range w.nominated {
		out = append(out, l...)
	}
	return out
}

// The columns, counters and groups, kept by differences, decide what looking
// at every object afresh decides.
func TestAgainstNaive(t *testing.T) {
	steps, seeds := 400, 16
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, r: rand.New(rand.NewPCG(uint64(seed), 1)), c: cache.New(), n: newNaive()}
			if seed%2 == 1 {
				w.c.Remember(3) // what is forgotten must not be missed
			}
			w.s = New(w.c, profiles(t), uint64(seed))
			for range 6 {
				n := w.node(fmt.Sprintf("n%d", w.r.IntN(12)))
				w.c.SetNode(n)
				w.n.nodes[n.Name] = n
			}
			var recent []*corev1.Pod
			for range steps {
				w.change()
				p := w.pod()
				if len(recent) > 0 && w.chance(60) { // like an earlier one
					p2 := recent[w.r.IntN(len(recent))].DeepCopy()
					p2.Name, p2.UID, p2.Labels["unique"] = p.Name, p.UID, p.Name
					p = p2
				} else {
					recent = append(recent, p)
					recent = recent[max(0, len(recent)-15):]
				}
				w.decide(p)
			}
		})
	}
}
