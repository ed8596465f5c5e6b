// Package podtest makes pods from a line of text, for golden tests.
package podtest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Now is the time in golden tests.
var Now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// Pod makes a pod of the words after its name: ready[=30s ago], waiting
// (running and not ready), pending, failed, succeeded, deleted, and pairs
// node=, ip=, cost=, restarts=, age=, exit=, and l.KEY= and a.KEY= for labels
// and annotations.
func Pod(t testing.TB, name string, pairs map[string]string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{}, Annotations: map[string]string{}, CreationTimestamp: ago(t, "1h")},
		Spec:       corev1.PodSpec{NodeName: pairs["node"]},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: pairs["ip"]},
	}
	for k, v := range pairs {
		set(t, p, k, v)
	}
	return p
}

func ago(t testing.TB, text string) metav1.Time {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%q is no duration: %v", text, err)
	}
	return metav1.NewTime(Now.Add(-d))
}

func set(t testing.TB, p *corev1.Pod, key, value string) {
	t.Helper()
	switch {
	case key == "ready":
		since := ago(t, "10m")
		if value != "true" {
			since = ago(t, value)
		}
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: since})
	case key == "pending":
		p.Status.Phase = corev1.PodPending
	case key == "failed":
		p.Status.Phase = corev1.PodFailed
	case key == "succeeded":
		p.Status.Phase = corev1.PodSucceeded
	case key == "deleted":
		at := ago(t, "1s")
		p.DeletionTimestamp = &at
	case key == "cost":
		p.Annotations[corev1.PodDeletionCost] = value
	case key == "age":
		p.CreationTimestamp = ago(t, value)
	case key == "restarts":
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", RestartCount: int32(n)}}
	case key == "exit":
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(n), FinishedAt: ago(t, "5s")}}}}
	case strings.HasPrefix(key, "l."):
		p.Labels[key[2:]] = value
	case strings.HasPrefix(key, "a."):
		p.Annotations[key[2:]] = value
	}
}

// Int of a word.
func Int(t testing.TB, text string) int32 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(fmt.Errorf("%q: %w", text, err))
	}
	return int32(n)
}
