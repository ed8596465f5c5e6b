package daemonset

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		ds := &appsv1.DaemonSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "agent", Generation: 1},
			Spec: appsv1.DaemonSetSpec{UpdateStrategy: appsv1.DaemonSetUpdateStrategy{
				Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: &appsv1.RollingUpdateDaemonSet{},
			}},
		}
		patience := map[string]time.Duration{}
		o := observed{ds: ds, hash: "h1", patience: func(n string) time.Duration { return patience[n] }}
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "set":
				for k, v := range pairs {
					x := intstr.Parse(v)
					switch k {
					case "surge":
						ds.Spec.UpdateStrategy.RollingUpdate.MaxSurge = &x
					case "unavailable":
						ds.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable = &x
					case "onDelete":
						ds.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}
					case "minReady":
						ds.Spec.MinReadySeconds = podtest.Int(t, v)
					case "hash":
						o.hash = v
					case "selector":
						ds.Spec.Template.Spec.NodeSelector = map[string]string{"kind": v}
					case "deleted":
						at := metav1.NewTime(podtest.Now)
						ds.DeletionTimestamp = &at
					}
				}
			case "node":
				n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: words[1], Labels: map[string]string{"kind": pairs["kind"]}}}
				if v := pairs["taint"]; v != "" {
					n.Spec.Taints = []corev1.Taint{{Key: v, Effect: corev1.TaintEffect(pairs["effect"])}}
				}
				o.nodes = append(o.nodes, n)
				if v := pairs["patience"]; v != "" {
					patience[n.Name] = time.Duration(podtest.Int(t, v)) * time.Second
				}
			case "pod":
				p := podtest.Pod(t, words[1], pairs)
				if v := pairs["for"]; v != "" { // not bound yet
					p.Spec = newPod(ds, v, "").Spec
				}
				if p.Labels[appsv1.ControllerRevisionHashLabelKey] = "h1"; pairs["at"] != "" {
					p.Labels[appsv1.ControllerRevisionHashLabelKey] = pairs["at"]
				}
				o.pods = append(o.pods, p)
			default:
				t.Fatalf("what is %q?", line)
			}
		}
		return plan(o, podtest.Now).String()
	})
}

// TestPodOfANode: a daemon's pod may be on its node only, whatever its
// template says, and stays there through what drives others away.
func TestPodOfANode(t *testing.T) {
	ds := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "agent", Annotations: map[string]string{appsv1.DeprecatedTemplateGeneration: "3"}}}
	ds.Spec.Template.Spec = corev1.PodSpec{HostNetwork: true, Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "a", Operator: "Exists"}}}}},
	}}}
	p := newPod(ds, "n1", "h")
	if nodeOf(p) != "n1" || p.Labels["controller-revision-hash"] != "h" || p.Labels["pod-template-generation"] != "3" || p.GenerateName != "agent-" {
		t.Errorf("pod %+v", p)
	}
	want := map[string]corev1.TaintEffect{
		"node.kubernetes.io/not-ready": "NoExecute", "node.kubernetes.io/unreachable": "NoExecute", "node.kubernetes.io/disk-pressure": "NoSchedule",
		"node.kubernetes.io/memory-pressure": "NoSchedule", "node.kubernetes.io/pid-pressure": "NoSchedule", "node.kubernetes.io/unschedulable": "NoSchedule",
		"node.kubernetes.io/network-unavailable": "NoSchedule",
	}
	for _, x := range p.Spec.Tolerations {
		if want[x.Key] != x.Effect || x.Operator != corev1.TolerationOpExists {
			t.Errorf("toleration %+v", x)
		}
		delete(want, x.Key)
	}
	if len(want) > 0 {
		t.Errorf("tolerations are missing: %v", want)
	}
}

func TestPatienceGrows(t *testing.T) {
	f := &failures{by: map[string]failed{}}
	now := podtest.Now
	if f.patience("k", now) != 0 {
		t.Error("the first failure is waited for")
	}
	f.note("k", now)
	if got := f.patience("k", now); got != firstPause {
		t.Errorf("%s after the first", got)
	}
	for range 20 {
		now = now.Add(maxPause)
		f.note("k", now)
	}
	if got := f.patience("k", now); got != maxPause {
		t.Errorf("%s in the end", got)
	}
	f.note("other", now.Add(3*maxPause))
	if got := f.patience("k", now); got != 0 {
		t.Errorf("%s is never forgotten", got)
	}
}
