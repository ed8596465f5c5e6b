package nodeselector

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func expr(key string, op corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}
}

func name(op corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: op, Values: values}}}
}

func TestMatches(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"a": "1", "b": "x"}}}
	for i, tt := range []struct {
		terms []corev1.NodeSelectorTerm
		want  bool
	}{
		{nil, false},
		{[]corev1.NodeSelectorTerm{{}}, false},
		{[]corev1.NodeSelectorTerm{expr("a", corev1.NodeSelectorOpIn, "1", "2")}, true},
		{[]corev1.NodeSelectorTerm{expr("a", corev1.NodeSelectorOpIn, "2")}, false},
		{[]corev1.NodeSelectorTerm{expr("c", corev1.NodeSelectorOpIn, "")}, false},
		{[]corev1.NodeSelectorTerm{expr("a", corev1.NodeSelectorOpNotIn, "2")}, true},
		{[]corev1.NodeSelectorTerm{expr("c", corev1.NodeSelectorOpNotIn, "2")}, true},
		{[]corev1.NodeSelectorTerm{expr("b", corev1.NodeSelectorOpExists)}, true},
		{[]corev1.NodeSelectorTerm{expr("b", corev1.NodeSelectorOpDoesNotExist)}, false},
		{[]corev1.NodeSelectorTerm{expr("a", corev1.NodeSelectorOpGt, "0")}, true},
		{[]corev1.NodeSelectorTerm{expr("a", corev1.NodeSelectorOpLt, "1")}, false},
		{[]corev1.NodeSelectorTerm{expr("b", corev1.NodeSelectorOpGt, "0")}, false},
		{[]corev1.NodeSelectorTerm{expr("c", corev1.NodeSelectorOpExists), name(corev1.NodeSelectorOpIn, "n")}, true},
		{[]corev1.NodeSelectorTerm{name(corev1.NodeSelectorOpNotIn, "n")}, false},
	} {
		if got := Matches(&corev1.NodeSelector{NodeSelectorTerms: tt.terms}, n); got != tt.want {
			t.Errorf("%d: %v: %v", i, tt.terms, got)
		}
	}
}

func TestNames(t *testing.T) {
	both := name(corev1.NodeSelectorOpIn, "a", "b")
	both.MatchFields = append(both.MatchFields, corev1.NodeSelectorRequirement{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"b"}})
	for i, tt := range []struct {
		terms []corev1.NodeSelectorTerm
		want  []string
	}{
		{[]corev1.NodeSelectorTerm{name(corev1.NodeSelectorOpIn, "a"), name(corev1.NodeSelectorOpIn, "b", "a")}, []string{"a", "b"}},
		{[]corev1.NodeSelectorTerm{name(corev1.NodeSelectorOpIn, "a"), expr("x", corev1.NodeSelectorOpExists)}, nil},
		{[]corev1.NodeSelectorTerm{both}, []string{"b"}},
	} {
		if got := Names(&corev1.NodeSelector{NodeSelectorTerms: tt.terms}); !slices.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%d: %v", i, got)
		}
	}
}
