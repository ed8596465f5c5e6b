package replicaset

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/pod"
	"xebec.dev/controller-manager/internal/podtest"
)

func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		n := int32(1)
		o := observed{set: &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rs", Generation: 1}, Spec: appsv1.ReplicaSetSpec{Replicas: &n}}, related: map[string]int{}}
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "replicas":
				n = podtest.Int(t, words[1])
			case "minReady":
				o.set.Spec.MinReadySeconds = podtest.Int(t, words[1])
			case "deleted":
				at := metav1.NewTime(podtest.Now)
				o.set.DeletionTimestamp = &at
			case "template":
				o.set.Spec.Template.Labels = map[string]string{"a": pairs["a"]}
			case "sibling": // a pod of another set of the same owner
				o.related[pairs["node"]]++
			case "pod":
				p := podtest.Pod(t, words[1], pairs)
				o.pods = append(o.pods, p)
				if pod.Active(p) {
					o.related[p.Spec.NodeName]++
				}
			default:
				t.Fatalf("what is %q?", line)
			}
		}
		return plan(o, podtest.Now).String()
	})
}

func TestFailureStaysUntilItIsOver(t *testing.T) {
	s := &appsv1.ReplicaSetStatus{}
	now := time.Now()
	failure(s, "FailedCreate", errTest("quota"), now)
	failure(s, "FailedCreate", errTest("another"), now.Add(time.Hour))
	if len(s.Conditions) != 1 || s.Conditions[0].Message != "quota" || s.Conditions[0].Status != corev1.ConditionTrue {
		t.Errorf("conditions %+v", s.Conditions)
	}
	failure(s, "", nil, now)
	if len(s.Conditions) != 0 {
		t.Errorf("conditions %+v", s.Conditions)
	}
}

type errTest string

func (e errTest) Error() string { return string(e) }

// TestReplicationControllerIsAReplicaSet: there and back nothing is lost.
func TestReplicationControllerIsAReplicaSet(t *testing.T) {
	n := int32(3)
	rc := &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Name: "rc", Generation: 2},
		Spec:       corev1.ReplicationControllerSpec{Replicas: &n, Selector: map[string]string{"a": "b"}, Template: &corev1.PodTemplateSpec{}},
		Status: corev1.ReplicationControllerStatus{Replicas: 3, FullyLabeledReplicas: 2, ReadyReplicas: 1, AvailableReplicas: 1, ObservedGeneration: 2,
			Conditions: []corev1.ReplicationControllerCondition{{Type: corev1.ReplicationControllerReplicaFailure, Status: corev1.ConditionTrue, Reason: "r", Message: "m"}}},
	}
	set := asSet(rc)
	back := withStatus(rc, set.Status)
	if back.Status.String() != rc.Status.String() {
		t.Errorf("status %v, was %v", back.Status, rc.Status)
	}
	if !strings.Contains(metav1.FormatLabelSelector(set.Spec.Selector), "a=b") {
		t.Errorf("selector %v", set.Spec.Selector)
	}
}
