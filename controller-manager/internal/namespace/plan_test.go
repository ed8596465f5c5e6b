package namespace

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

func TestConditions(t *testing.T) {
	golden.Run(t, "testdata/conditions.txt", func(t *testing.T, in []string) string {
		r := &remains{counts: map[string]int{}, finalizers: map[string]int{}}
		for _, line := range in {
			words, _ := golden.Fields(line)
			switch words[0] {
			case "left":
				r.counts[words[1]] = int(podtest.Int(t, words[2]))
			case "held":
				r.finalizers[words[1]] = int(podtest.Int(t, words[2]))
			case "failed":
				r.failures = append(r.failures, strings.Join(words[1:], " "))
			case "wait":
				r.wait = time.Duration(podtest.Int(t, words[1])) * time.Second
			case "nothing":
			default:
				t.Fatalf("what is %q?", line)
			}
		}
		var b strings.Builder
		for _, c := range conditions(r) {
			fmt.Fprintf(&b, "%s %s %s %q\n", c.Type, c.Status, c.Reason, c.Message)
		}
		fmt.Fprintf(&b, "empty=%t again=%s\n", r.empty(), again(r))
		return b.String()
	})
}

func TestMergeKeepsTimes(t *testing.T) {
	s := &corev1.NamespaceStatus{}
	r := &remains{counts: map[string]int{"pods.": 2}}
	if !merge(s, podtest.Now, conditions(r)) || len(s.Conditions) != 5 {
		t.Fatalf("conditions %+v", s.Conditions)
	}
	if merge(s, podtest.Now.Add(time.Hour), conditions(r)) {
		t.Error("the same again is a change")
	}
	r.counts["pods."] = 1
	if !merge(s, podtest.Now.Add(time.Hour), conditions(r)) {
		t.Error("another message is no change")
	}
	for _, c := range s.Conditions {
		if !c.LastTransitionTime.Time.Equal(podtest.Now) {
			t.Errorf("%s has moved to %s", c.Type, c.LastTransitionTime)
		}
	}
}
