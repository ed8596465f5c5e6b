package podgc

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/golden"
)

// TestPlan reads lines "pod NAME [node=N] [phase=P] [reason=R] [age=D]
// [deleted]", "node NAME ready|unready [out]", "missing NODE AGO" and "most N".
func TestPlan(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ago := func(text string) time.Time {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return now.Add(-d)
	}
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		var pods []*corev1.Pod
		nodes := map[string]*corev1.Node{}
		o := observed{missing: map[string]time.Time{}, now: now}
		for _, line := range in {
			words := strings.Fields(line)
			switch words[0] {
			case "pod":
				p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: words[1]}}
				for _, w := range words[2:] {
					k, v, _ := strings.Cut(w, "=")
					switch k {
					case "node":
						p.Spec.NodeName = v
					case "phase":
						p.Status.Phase = corev1.PodPhase(v)
					case "reason":
						p.Status.Reason = v
					case "age":
						p.CreationTimestamp = metav1.NewTime(ago(v))
					case "deleted":
						p.DeletionTimestamp = &metav1.Time{Time: now}
					}
				}
				pods = append(pods, p)
			case "node":
				n := &corev1.Node{}
				s := corev1.ConditionFalse
				if words[2] == "ready" {
					s = corev1.ConditionTrue
				}
				n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: s}}
				if len(words) > 3 {
					n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeOutOfService, Effect: corev1.TaintEffectNoExecute}}
				}
				nodes[words[1]] = n
			case "missing":
				o.missing[words[1]] = ago(words[2])
			case "most":
				o.most, _ = strconv.Atoi(words[1])
			}
		}
		o.pods = slices.Values(pods)
		o.node = func(name string) (*corev1.Node, bool) { n, ok := nodes[name]; return n, ok }
		out := plan(o).String()
		var left []string
		for n := range o.missing {
			left = append(left, n)
		}
		slices.Sort(left)
		if len(left) > 0 {
			out += "missing " + strings.Join(left, " ")
		}
		return out
	})
}
