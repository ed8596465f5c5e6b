package owner

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestSort(t *testing.T) {
	kind := schema.GroupVersionKind{Version: "v1", Kind: "Owner"}
	me := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "me", UID: "me"}}
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "other", UID: "other"}}
	now := metav1.Now()
	pod := func(name, label string, owner metav1.Object, deleted bool) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{"app": label}}}
		if owner != nil {
			p.OwnerReferences = []metav1.OwnerReference{*Ref(owner, kind)}
		}
		if deleted {
			p.DeletionTimestamp = &now
		}
		return p
	}
	all := []*corev1.Pod{
		pod("mine", "web", me, false), pod("strayed", "x", me, false), pod("orphan", "web", nil, false), pod("ending", "web", nil, true),
		pod("unrelated", "x", nil, false), pod("others", "web", other, false),
	}
	names := func(l []*corev1.Pod) (out []string) {
		for _, p := range l {
			out = append(out, p.Name)
		}
		return out
	}
	sel := Selector(&metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}})
	c := Sort(me, sel, all)
	if got := fmt.Sprint(names(c.Owned), names(c.Adopt), names(c.Release)); got != "[mine] [orphan] [strayed]" {
		t.Errorf("claim: %s", got)
	}
	me.DeletionTimestamp = &now
	c = Sort(me, sel, all)
	if got := fmt.Sprint(names(c.Owned), names(c.Adopt), names(c.Release)); got != "[mine] [] []" {
		t.Errorf("claim of one that ends: %s", got)
	}
	for _, s := range []*metav1.LabelSelector{nil, {}, {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Nonsense"}}}} {
		if Selector(s).Matches(nil) {
			t.Errorf("%v selects everything", s)
		}
	}
}
