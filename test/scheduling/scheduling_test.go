// Package scheduling tests kube-scheduler with a real kube-apiserver and etcd.
package scheduling

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/scheduler/workload"
	"xebec.dev/test/apiservertest"
	"xebec.dev/test/scheduling/plant"
)

const twoProfiles = `
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: false}
podInitialBackoffSeconds: 1
podMaxBackoffSeconds: 2
profiles:
- schedulerName: default-scheduler
- schedulerName: packing
  pluginConfig:
  - name: NodeResourcesFit
    args:
      scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}
  plugins:
    multiPoint:
      disabled: [{name: NodeResourcesBalancedAllocation}]
`

// env is a plant with a client, shared by the tests of this package.
type env struct {
	*testing.T
	p   *plant.Plant
	c   *client.Client
	ctx context.Context
}

var shared *plant.Plant

func TestMain(m *testing.M) {
	code := func() int {
		dir, err := os.MkdirTemp("", "scheduling")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "scheduler.yaml")
		if err := os.WriteFile(file, []byte(twoProfiles), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		shared, err = plant.Start(plant.Options{Bin: filepath.Dir(apiservertest.Binary("etcd")), Dir: dir, Scheduler: []string{"--config=" + file}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer shared.Stop()
		return m.Run()
	}()
	os.Exit(code)
}

// setup gives a test an empty cluster with namespace "t".
func setup(t *testing.T) *env {
	t.Helper()
	c, err := shared.Client()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	e := &env{T: t, p: shared, c: c, ctx: ctx}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("scheduler's log:\n%s", tail(shared.Scheduler.Log()))
		}
		e.clear()
		cancel()
		_ = c.Close() // the test is over
	})
	for _, ns := range []string{"t", "sched-0", "sched-1"} {
		if _, err := client.Get[*corev1.Namespace](ctx, c, "", ns); err != nil {
			must(e, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
		}
	}
	return e
}

func tail(s string) string { return s[max(0, len(s)-6000):] }

func (e *env) clear() {
	zero := int64(0)
	for _, ns := range []string{"t", "sched-0", "sched-1"} {
		s := client.Selection{Namespace: ns}
		if _, err := client.DeleteCollection[*corev1.Pod](e.ctx, e.c, s, client.DeleteOptions{GracePeriod: &zero}); err != nil {
			e.Error(err)
		}
	}
	if _, err := client.DeleteCollection[*corev1.Node](e.ctx, e.c, client.Selection{}); err != nil {
		e.Error(err)
	}
}

// must creates an object.
func must[T scheme.Object](e *env, obj T) T {
	e.Helper()
	out, err := client.Create(e.ctx, e.c, obj)
	if err != nil {
		e.Fatalf("create %T %s/%s: %v", obj, obj.GetNamespace(), obj.GetName(), err)
	}
	return out
}

// change edits an object; whoever else writes to it meanwhile loses nothing.
func change[T scheme.Object](e *env, namespace, name string, edit func(T)) {
	e.Helper()
	for {
		obj, err := client.Get[T](e.ctx, e.c, namespace, name)
		if err == nil {
			edit(obj)
			_, err = client.Update(e.ctx, e.c, obj)
		}
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			e.Fatalf("change %s/%s: %v", namespace, name, err)
		}
	}
}

func (e *env) node(name string, labels map[string]string, change ...func(*corev1.Node)) {
	e.Helper()
	n := workload.Node(name, labels)
	n.UID = ""
	for _, f := range change {
		f(n)
	}
	must(e, n)
}

func (e *env) pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	e.Helper()
	p := workload.Pod("t", name, change...)
	p.UID, p.Status = "", corev1.PodStatus{}
	return must(e, p)
}

func cpu(q string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		l := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(q)}
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: l}
	}
}

func label(k, v string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = map[string]string{k: v} }
}

func taint(key string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: "v", Effect: effect})
	}
}

// until waits for a pod to be so.
func (e *env) until(namespace, name, what string, ok func(p *corev1.Pod) bool) *corev1.Pod {
	e.Helper()
	var p *corev1.Pod
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if p, err = client.Get[*corev1.Pod](e.ctx, e.c, namespace, name); err != nil {
			e.Fatal(err)
		}
		if ok(p) {
			return p
		}
	}
	e.Fatalf("pod %s is not %s within a minute: node %q, nominated %q, %+v", name, what, p.Spec.NodeName, p.Status.NominatedNodeName, p.Status.Conditions)
	return nil
}

func (e *env) bound(name string) *corev1.Pod {
	e.Helper()
	return e.until("t", name, "bound", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" })
}

func scheduledCondition(p *corev1.Pod) corev1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled {
			return c
		}
	}
	return corev1.PodCondition{}
}

// pending waits until the pod's condition says why it waits.
func (e *env) pending(name, reason, message string) *corev1.Pod {
	e.Helper()
	return e.until("t", name, "pending for: "+message, func(p *corev1.Pod) bool {
		c := scheduledCondition(p)
		return p.Spec.NodeName == "" && c.Status == corev1.ConditionFalse && c.Reason == reason && (message == "" || c.Message == message)
	})
}

// event waits for an event about a pod.
func (e *env) event(name, reason, message string) {
	e.Helper()
	var seen []string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		list, _, err := client.List[*corev1.Event](e.ctx, e.c, client.Selection{Namespace: "t", Fields: "involvedObject.name=" + name})
		if err != nil {
			e.Fatal(err)
		}
		seen = nil
		for _, ev := range list {
			if ev.Reason == reason && strings.HasPrefix(ev.Message, message) && ev.ReportingController != "" && ev.Action != "" {
				return
			}
			seen = append(seen, ev.Reason+": "+ev.Message)
		}
	}
	e.Fatalf("no event %s %q about %s, but %q", reason, message, name, seen)
}

// SC-a168, SC-0ab0: a pod that fits nowhere stays pending and says why, then
// goes where room is made.
func TestPendingReasons(t *testing.T) {
	e := setup(t)
	e.node("n1", nil)
	e.node("n2", nil, taint("team", corev1.TaintEffectNoSchedule))
	e.node("n3", nil, func(n *corev1.Node) { n.Spec.Unschedulable = true })
	e.pod("fits", cpu("3"))
	p := e.bound("fits")
	if p.Spec.NodeName != "n1" || scheduledCondition(p).Status != corev1.ConditionTrue {
		t.Errorf("fits is on %q: %+v", p.Spec.NodeName, scheduledCondition(p))
	}
	e.event("fits", "Scheduled", "Successfully assigned t/fits to n1")
	e.pod("large", cpu("2"))
	const why = "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
	e.pending("large", "Unschedulable", why)
	e.event("large", "FailedScheduling", why)
	e.pod("elsewhere", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} })
	e.pending("elsewhere", "Unschedulable", "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.")
	zero := int64(0)
	if err := client.Delete[*corev1.Pod](e.ctx, e.c, "t", "fits", client.DeleteOptions{GracePeriod: &zero}); err != nil {
		t.Fatal(err)
	}
	e.bound("large")
	change(e, "", "n1", func(n *corev1.Node) { n.Labels["disk"] = "ssd" })
	if p := e.bound("elsewhere"); p.Spec.NodeName != "n1" {
		t.Errorf("elsewhere is on %q", p.Spec.NodeName)
	}
}

// SC-236e and taints: nodes are chosen by labels, taints need tolerations.
func TestNodesByLabelsAndTaints(t *testing.T) {
	e := setup(t)
	e.node("n1", map[string]string{"disk": "ssd"}, taint("team", corev1.TaintEffectNoSchedule))
	e.node("n2", map[string]string{"disk": "hdd"})
	e.node("n3", map[string]string{"disk": "hdd"}, taint("mild", corev1.TaintEffectPreferNoSchedule))
	e.pod("tolerant", func(p *corev1.Pod) {
		p.Spec.NodeSelector = map[string]string{"disk": "ssd"}
		p.Spec.Tolerations = []corev1.Toleration{{Key: "team", Operator: corev1.TolerationOpExists}}
	})
	e.pod("mild")
	e.pod("named", func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"n3"}}}}}}}}
	})
	for name, want := range map[string]string{"tolerant": "n1", "mild": "n2", "named": "n3"} {
		if p := e.bound(name); p.Spec.NodeName != want {
			t.Errorf("%s is on %q, want %q", name, p.Spec.NodeName, want)
		}
	}
}

func TestGates(t *testing.T) {
	e := setup(t)
	e.node("n1", nil)
	p := e.pod("gated", func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}} })
	e.pending("gated", corev1.PodReasonSchedulingGated, "")
	e.pod("other")
	e.bound("other")
	p, err := client.Get[*corev1.Pod](e.ctx, e.c, "t", p.Name)
	if err != nil {
		t.Fatal(err)
	}
	if p.Spec.NodeName != "" {
		t.Fatal("a gated pod was bound")
	}
	change(e, "t", p.Name, func(p *corev1.Pod) { p.Spec.SchedulingGates = nil })
	e.bound("gated")
}

func TestTwoProfiles(t *testing.T) {
	e := setup(t)
	e.node("n1", nil)
	e.node("n2", nil)
	e.pod("first", cpu("1"))
	first := e.bound("first").Spec.NodeName
	for i := range 2 {
		name := fmt.Sprintf("packed%d", i)
		e.pod(name, cpu("500m"), func(p *corev1.Pod) { p.Spec.SchedulerName = "packing" })
		if p := e.bound(name); p.Spec.NodeName != first {
			t.Errorf("%s is on %s, want %s beside the first", name, p.Spec.NodeName, first)
		}
	}
	e.pod("spread", cpu("500m"))
	if p := e.bound("spread"); p.Spec.NodeName == first {
		t.Error("the default profile packs")
	}
	e.pod("foreign", func(p *corev1.Pod) { p.Spec.SchedulerName = "somebody-else" })
	e.pod("last")
	e.bound("last")
	p, err := client.Get[*corev1.Pod](e.ctx, e.c, "t", "foreign")
	if err != nil {
		t.Fatal(err)
	}
	if p.Spec.NodeName != "" || scheduledCondition(p).Reason != "" {
		t.Errorf("the pod of another scheduler: node %q, %+v", p.Spec.NodeName, scheduledCondition(p))
	}
}

func (e *env) class(name string, value int32, policy corev1.PreemptionPolicy) {
	e.Helper()
	if _, err := client.Get[*schedulingv1.PriorityClass](e.ctx, e.c, "", name); err == nil {
		return
	}
	must(e, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value, PreemptionPolicy: &policy})
}

func priority(class string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.PriorityClassName = class }
}
