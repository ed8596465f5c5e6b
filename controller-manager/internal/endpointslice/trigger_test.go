package endpointslice

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client/cache"
)

// TestTriggers: a change is told once, each pod's for itself, and a pod that
// goes does not bring back when another one became ready.
func TestTriggers(t *testing.T) {
	begin := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", CreationTimestamp: metav1.NewTime(begin)}}
	ready := func(name string, after time.Duration) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(name)}, Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodReady, LastTransitionTime: metav1.NewTime(begin.Add(after)),
		}}}}
	}
	list := NewTriggers()
	var clock time.Duration
	list.now = func() time.Time { return begin.Add(clock) }
	check := func(what string, made bool, want time.Duration, pods ...*corev1.Pod) Told {
		t.Helper()
		began, now := list.Since(svc, pods, made)
		got := began.Sub(begin)
		if began.IsZero() {
			got = -1
		}
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
		return now
	}
	key := cache.KeyOf(svc)
	tell := func(now Told) { list.Tell(key, now) }
	old, a, b := ready("old", -time.Hour), ready("a", time.Minute), ready("b", 2*time.Minute)
	tell(check("a new service", false, 0, old))
	tell(check("nothing new", true, -1, old))
	check("two are ready: the first counts", true, time.Minute, old, a, b)
	clock = time.Minute + 500*time.Millisecond // pods know seconds only
	tell(check("and counts until it is written", true, time.Minute, old, a, b))
	tell(check("another one goes", true, -1, old, a))
	tell(check("one that is ready in the same second", true, time.Minute, old, a, ready("c", time.Minute)))
	clock = 10 * time.Minute
	tell(check("one that is not ready yet", true, -1, old, a, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "d"}}))
	tell(check("it is, by a clock that is behind", true, 30*time.Second, old, a, ready("d", 30*time.Second)))
	tell(check("one that was ready long before it had the labels", true, -1, old, a, ready("labelled", 5*time.Minute)))
	tell(check("and one that was ready as the service was looked at last", true, 10*time.Minute, old, a, ready("labelled", 5*time.Minute), ready("e", 10*time.Minute)))
	tell(check("unready", true, 3*time.Minute, old, ready("a", 3*time.Minute)))
	list.Forget(key)
	clock = time.Minute
	tell(check("known to a process before this one", true, -1, old, a))
	check("then as ever", true, 2*time.Minute, old, a, b)
}
