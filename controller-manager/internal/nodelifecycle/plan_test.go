package nodelifecycle

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/golden"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// TestPlan reads lines "silent DURATION", "CONDITION STATUS", "taint
// KEY:EFFECT", "label KEY=VALUE", "unschedulable" and "stopped".
func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{}}}
		o := observed{node: n, now: now, heard: now, grace: 50 * time.Second, start: time.Minute}
		for _, line := range in {
			word, rest, _ := strings.Cut(line, " ")
			switch word {
			case "silent":
				d, err := time.ParseDuration(rest)
				if err != nil {
					t.Fatal(err)
				}
				o.heard = now.Add(-d)
			case "taint":
				key, effect, _ := strings.Cut(rest, ":")
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffect(effect)})
			case "label":
				k, v, _ := strings.Cut(rest, "=")
				n.Labels[k] = v
			case "unschedulable":
				n.Spec.Unschedulable = true
			case "stopped":
				o.stopped = true
			default:
				n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeConditionType(word), Status: corev1.ConditionStatus(rest)})
			}
		}
		p := plan(o)
		if p.Evict != nil && p.Evict.TimeAdded == nil {
			t.Error("an eviction without its time")
		}
		var left []string
		for _, x := range p.taints(n) {
			left = append(left, x.ToString())
		}
		return p.String() + "taints: " + strings.Join(left, " ")
	})
}

// TestSurvey reads lines "ZONE READY/NODES" and "ask ZONE SECONDS".
func TestSurvey(t *testing.T) {
	golden.Run(t, "testdata/zones.txt", func(t *testing.T, in []string) string {
		var nodes []*corev1.Node
		var b strings.Builder
		pass := permits{from: map[string]time.Time{}}
		r := rates{normal: 0.1, secondary: 0.01, large: 50, threshold: 0.55}
		for _, line := range in {
			words := strings.Fields(line)
			if words[0] == "ask" {
				zones, _ := survey(slices.Values(nodes), r)
				s, _ := strconv.Atoi(words[2])
				ok, wait := pass.take(":"+words[1], zones[":"+words[1]].rate, now.Add(time.Duration(s)*time.Second))
				fmt.Fprintf(&b, "%s: %t %s\n", line, ok, wait)
				continue
			}
			var ready, all int
			if _, err := fmt.Sscanf(words[1], "%d/%d", &ready, &all); err != nil {
				t.Fatal(err)
			}
			for i := range all {
				n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{corev1.LabelTopologyZone: words[0]}}}
				s := corev1.ConditionUnknown
				if i < ready {
					s = corev1.ConditionTrue
				}
				n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: s}}
				nodes = append(nodes, n)
			}
		}
		zones, stopped := survey(slices.Values(nodes), r)
		return b.String() + describe(zones, stopped)
	})
}
