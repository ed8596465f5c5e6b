package disruption

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

// TestPlan reads lines "minAvailable N", "maxUnavailable N", "disrupted POD
// AGO", "owner NAME SCALE" and "pod NAME [owner=NAME] WORDS...".
func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		o := observed{budget: &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Generation: 2}}, now: podtest.Now}
		o.budget.Status.DisruptedPods = map[string]metav1.Time{}
		want := map[string]int32{}
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "minAvailable":
				v := intstr.Parse(words[1])
				o.budget.Spec.MinAvailable = &v
			case "maxUnavailable":
				v := intstr.Parse(words[1])
				o.budget.Spec.MaxUnavailable = &v
			case "disrupted":
				d, err := time.ParseDuration(words[2])
				if err != nil {
					t.Fatal(err)
				}
				o.budget.Status.DisruptedPods[words[1]] = metav1.NewTime(podtest.Now.Add(-d))
			case "owner":
				want[words[1]] = podtest.Int(t, words[2])
			case "pod":
				owner := pairs["owner"]
				delete(pairs, "owner")
				p := podtest.Pod(t, words[1], pairs)
				if yes := true; owner != "" {
					p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: owner, UID: types.UID(owner), Controller: &yes}}
				}
				o.pods = append(o.pods, p)
			}
		}
		o.scale = func(p *corev1.Pod, ref *metav1.OwnerReference) (types.UID, int32, error) {
			n, ok := want[ref.Name]
			if !ok {
				return "", 0, fmt.Errorf("found no controllers for pod %q", p.Name)
			}
			return ref.UID, n, nil
		}
		p := plan(o)
		out := p.String()
		if p.Status != nil {
			o.budget.Status = *p.Status
			o.now = o.now.Add(time.Second)
			if again := plan(o); again.Status != nil && len(again.Late) == 0 {
				t.Errorf("the plan after the plan: %s", again)
			}
		}
		return out
	})
}

func TestStale(t *testing.T) {
	for _, c := range []struct {
		words  string
		reason string
		want   time.Duration
	}{
		{"30s", "EvictionByEvictionAPI", 90 * time.Second},
		{"2m", "PreemptionByScheduler", 0},
		{"1h", "TerminationByKubelet", -1},
		{"1h deleted", "EvictionByEvictionAPI", -1},
		{"1h failed", "EvictionByEvictionAPI", -1},
	} {
		words := strings.Fields(c.words)
		pairs := map[string]string{}
		for _, w := range words[1:] {
			pairs[w] = "true"
		}
		p := podtest.Pod(t, "p", pairs)
		d, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: c.reason, LastTransitionTime: metav1.NewTime(podtest.Now.Add(-d))})
		if got := stale(p, podtest.Now); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.words, c.reason, got, c.want)
		}
	}
}
