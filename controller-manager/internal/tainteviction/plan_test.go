package tainteviction

import (
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/golden"
)

// TestPlan reads lines "taint KEY [AGO]", "tolerate KEY [SECONDS]", "pod AGO"
// and "deleted"; KEY * is any.
func TestPlan(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ago := func(words []string, i int) *metav1.Time {
		if len(words) <= i {
			return nil
		}
		d, err := time.ParseDuration(words[i])
		if err != nil {
			t.Fatal(err)
		}
		return &metav1.Time{Time: now.Add(-d)}
	}
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		p := &corev1.Pod{}
		n := &corev1.Node{}
		n.Spec.Taints = []corev1.Taint{{Key: "other", Effect: corev1.TaintEffectNoSchedule}}
		for _, line := range in {
			words := strings.Fields(line)
			switch words[0] {
			case "taint":
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: words[1], Effect: corev1.TaintEffectNoExecute, TimeAdded: ago(words, 2)})
			case "tolerate":
				tol := corev1.Toleration{Key: words[1], Operator: corev1.TolerationOpExists}
				if words[1] == "*" {
					tol.Key = ""
				}
				if len(words) > 2 {
					s, _ := strconv.ParseInt(words[2], 10, 64)
					tol.TolerationSeconds = &s
				}
				p.Spec.Tolerations = append(p.Spec.Tolerations, tol)
			case "pod":
				p.CreationTimestamp = *ago(words, 1)
			case "deleted":
				p.DeletionTimestamp = &metav1.Time{Time: now}
			}
		}
		taints := noExecute(n)
		return plan(p, taints, since(p, taints, now), now).String()
	})
}
