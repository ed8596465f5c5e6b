package placement

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSelects(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"a": "1", "n": "5"}}}
	for _, c := range []struct {
		key, op string
		values  []string
		want    bool
	}{
		{"a", "In", []string{"1", "2"}, true}, {"a", "In", []string{"2"}, false}, {"b", "In", []string{"1"}, false},
		{"a", "NotIn", []string{"2"}, true}, {"b", "NotIn", []string{"2"}, true}, {"a", "NotIn", []string{"1"}, false},
		{"a", "Exists", nil, true}, {"b", "Exists", nil, false}, {"b", "DoesNotExist", nil, true}, {"a", "DoesNotExist", nil, false},
		{"n", "Gt", []string{"4"}, true}, {"n", "Gt", []string{"5"}, false}, {"n", "Lt", []string{"6"}, true}, {"b", "Lt", []string{"6"}, false},
		{"n", "Gt", []string{"x"}, false}, {"a", "Unknown", nil, false},
	} {
		s := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{}, {MatchExpressions: []corev1.NodeSelectorRequirement{{Key: c.key, Operator: corev1.NodeSelectorOperator(c.op), Values: c.values}}}}}
		if got := Selects(s, node); got != c.want {
			t.Errorf("%s %s %v: %t", c.key, c.op, c.values, got)
		}
	}
	if Selects(&corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{}}}, node) {
		t.Error("a term without requirements is satisfied")
	}
	if !Matches(&corev1.PodSpec{NodeSelector: map[string]string{"a": "1"}}, node) || Matches(&corev1.PodSpec{NodeSelector: map[string]string{"a": "2"}}, node) {
		t.Error("nodeSelector")
	}
}

func TestTolerations(t *testing.T) {
	taint := corev1.Taint{Key: "k", Value: "5", Effect: corev1.TaintEffectNoExecute}
	for _, c := range []struct {
		t    corev1.Toleration
		want bool
	}{
		{corev1.Toleration{Operator: "Exists"}, true}, {corev1.Toleration{Key: "k", Operator: "Exists"}, true}, {corev1.Toleration{Key: "x", Operator: "Exists"}, false},
		{corev1.Toleration{Key: "k", Value: "5"}, true}, {corev1.Toleration{Key: "k", Operator: "Equal", Value: "6"}, false},
		{corev1.Toleration{Key: "k", Operator: "Exists", Effect: "NoSchedule"}, false}, {corev1.Toleration{Key: "k", Operator: "Exists", Effect: "NoExecute"}, true},
		{corev1.Toleration{Key: "k", Operator: "Gt", Value: "4"}, true}, {corev1.Toleration{Key: "k", Operator: "Lt", Value: "4"}, false},
	} {
		if got := Tolerates(&c.t, &taint); got != c.want {
			t.Errorf("%+v: %t", c.t, got)
		}
	}
	taints := []corev1.Taint{{Key: "soft", Effect: corev1.TaintEffectPreferNoSchedule}, taint}
	if got := Untolerated(nil, taints, corev1.TaintEffectNoExecute); got == nil || got.Key != "k" {
		t.Errorf("untolerated: %v", got)
	}
	if got := Untolerated(nil, taints, corev1.TaintEffectNoSchedule); got != nil {
		t.Errorf("untolerated: %v", got)
	}
}
