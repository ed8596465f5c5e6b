package deployment

import (
	"fmt"
	"maps"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

// template of a version.
func template(v string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "web:" + v}}},
	}
}

// world is read from the lines of a case.
type world struct {
	observed
	busy map[string]bool
}

func newWorld() *world {
	n, deadline, limit := int32(3), int32(600), int32(10)
	w := &world{busy: map[string]bool{}}
	w.d = &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", Generation: 1, Annotations: map[string]string{}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("1"),
			ProgressDeadlineSeconds: &deadline, RevisionHistoryLimit: &limit,
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{}},
		},
	}
	w.running = func(s *appsv1.ReplicaSet) bool { return w.busy[s.Name] }
	return w
}

func (w *world) read(t *testing.T, line string) {
	words, pairs := golden.Fields(line)
	switch words[0] {
	case "deployment":
		w.deployment(t, pairs)
	case "condition":
		now := metav1.NewTime(podtest.Now.Add(-time.Hour))
		w.d.Status.Conditions = append(w.d.Status.Conditions, appsv1.DeploymentCondition{
			Type: appsv1.DeploymentConditionType(words[1]), Status: corev1.ConditionStatus(words[2]), Reason: words[3], LastUpdateTime: now, LastTransitionTime: now,
		})
	case "set":
		w.set(t, words[1], pairs)
	case "counted": // the status is of what there is
		r := &rollout{observed: w.observed, now: podtest.Now.Add(-time.Hour), d: w.d.DeepCopy()}
		r.split()
		w.d.Status = r.count()
	default:
		t.Fatalf("what is %q?", line)
	}
}

func (w *world) deployment(t *testing.T, pairs map[string]string) {
	d := w.d
	for k, v := range pairs {
		switch k {
		case "replicas":
			n := podtest.Int(t, v)
			d.Spec.Replicas = &n
		case "version":
			d.Spec.Template = template(v)
		case "surge":
			x := intstr.Parse(v)
			d.Spec.Strategy.RollingUpdate.MaxSurge = &x
		case "unavailable":
			x := intstr.Parse(v)
			d.Spec.Strategy.RollingUpdate.MaxUnavailable = &x
		case "recreate":
			d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		case "paused":
			d.Spec.Paused = true
		case "history":
			n := podtest.Int(t, v)
			d.Spec.RevisionHistoryLimit = &n
		case "deadline":
			n := podtest.Int(t, v)
			d.Spec.ProgressDeadlineSeconds = &n
		case "revision":
			d.Annotations[revisionKey] = v
		case "note":
			d.Annotations["note"] = v
		}
	}
}

func (w *world) set(t *testing.T, name string, pairs map[string]string) {
	get := func(k string, otherwise int32) int32 {
		if v, ok := pairs[k]; ok {
			return podtest.Int(t, v)
		}
		return otherwise
	}
	n := get("replicas", 0)
	s := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: name, UID: types.UID(name), Annotations: map[string]string{},
			CreationTimestamp: metav1.NewTime(podtest.Now.Add(time.Duration(len(w.sets)) * time.Minute)),
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: &n, Template: template(pairs["version"])},
	}
	s.Spec.Template.Labels = maps.Clone(s.Spec.Template.Labels)
	s.Spec.Template.Labels[hashKey] = "hash"
	available := get("available", n)
	none := int32(0)
	s.Status = appsv1.ReplicaSetStatus{Replicas: get("pods", n), ReadyReplicas: available, AvailableReplicas: available, TerminatingReplicas: &none}
	s.Annotations[revisionKey] = pairs["revision"]
	s.Annotations[desiredKey] = fmt.Sprint(get("desired", *w.d.Spec.Replicas))
	surge, _ := bounds(w.d)
	s.Annotations[maxKey] = fmt.Sprint(get("max", *w.d.Spec.Replicas+surge))
	if e := pairs["failed"]; e != "" {
		s.Status.Conditions = []appsv1.ReplicaSetCondition{{Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: e}}
	}
	w.busy[name] = pairs["busy"] != ""
	w.sets = append(w.sets, s)
}

func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		w := newWorld()
		for _, line := range in {
			w.read(t, line)
		}
		return plan(w.observed, podtest.Now).String()
	})
}

// TestRollsOut: from any start, step by step with the pods following, a
// rollout ends where it should, within its bounds all the way, and then rests.
func TestRollsOut(t *testing.T) {
	for _, c := range []struct {
		n                  int32
		surge, unavailable string
	}{{1, "25%", "25%"}, {10, "3", "2"}, {10, "0", "1"}, {10, "1", "0"}, {7, "100%", "0"}, {7, "0", "100%"}, {0, "1", "1"}, {3, "0", "0"}} {
		w := newWorld()
		w.deployment(t, map[string]string{"replicas": fmt.Sprint(c.n), "surge": c.surge, "unavailable": c.unavailable, "version": "2"})
		w.set(t, "old", map[string]string{"version": "1", "replicas": fmt.Sprint(c.n), "revision": "1"})
		up, down := bounds(w.d)
		steps := 0
		for ; steps < 200; steps++ {
			p := plan(w.observed, podtest.Now)
			if p.Create == nil && len(p.Update) == 0 && p.Deployment == nil {
				break
			}
			w.follow(p)
			total, ready := sizes(w.sets), available(w.sets)
			if total > c.n+up || ready < c.n-down {
				t.Errorf("%+v: step %d: %d pods, %d available", c, steps, total, ready)
			}
		}
		var current *appsv1.ReplicaSet
		for _, s := range w.sets {
			if s.Spec.Template.Spec.Containers[0].Image == "web:2" {
				current = s
			}
		}
		if steps == 200 || current == nil || size(current) != c.n || sizes(w.sets) != c.n {
			t.Errorf("%+v: after %d steps: %d pods", c, steps, sizes(w.sets))
		}
	}
}

// follow does what a plan says; pods that come are available at once.
func (w *world) follow(p Plan) {
	if s := p.Create; s != nil {
		s.UID, s.CreationTimestamp = types.UID(s.Name), metav1.NewTime(podtest.Now.Add(time.Hour))
		w.sets = append(w.sets, s)
	}
	for _, c := range p.Update {
		for i := range w.sets {
			if w.sets[i].Name == c.Set.Name {
				w.sets[i] = c.Set
			}
		}
	}
	if p.Deployment != nil {
		w.d = p.Deployment
	}
	for _, s := range w.sets {
		none := int32(0)
		s.Status = appsv1.ReplicaSetStatus{Replicas: size(s), ReadyReplicas: size(s), AvailableReplicas: size(s), TerminatingReplicas: &none}
	}
}

func TestHashes(t *testing.T) {
	a, b := template("1"), template("2")
	one := int32(1)
	if hashOf(&a, nil) == hashOf(&b, nil) || hashOf(&a, nil) == hashOf(&a, &one) {
		t.Error("hashes of what differs are equal")
	}
	again := template("1")
	if hashOf(&a, nil) != hashOf(&again, nil) {
		t.Error("hashes of what is equal differ")
	}
	if n := nameOf(string(make([]byte, 300)), "hash"); len(n) != maxName {
		t.Errorf("a name of %d bytes", len(n))
	}
}

func TestHistoryIsBounded(t *testing.T) {
	h := ""
	for i := range 2000 {
		h = appendHistory(h, fmt.Sprint(i))
		if len(h) > maxHistory {
			t.Fatalf("%d bytes", len(h))
		}
	}
	if h[len(h)-4:] != "1999" {
		t.Errorf("the newest is not there: %s", h)
	}
}
