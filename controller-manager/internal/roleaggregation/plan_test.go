package roleaggregation

import (
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	rule := func(resource string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{"get"}}
	}
	role := func(name, label string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"to": label}}, Rules: rules}
	}
	sum := role("sum", "a")
	sum.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"to": "b"}}, {MatchLabels: map[string]string{"to": "a"}}}}
	all := []*rbacv1.ClusterRole{role("z", "a", rule("pods"), rule("nodes")), role("y", "a", rule("nodes"), rule("secrets")), role("x", "b", rule("events")), role("w", "c", rule("others")), sum}
	rules, changed := plan(sum, all)
	var got []string
	for _, r := range rules {
		got = append(got, r.Resources...)
	}
	if fmt.Sprint(got) != "[events nodes secrets pods]" || !changed {
		t.Errorf("rules of %v, changed %t", got, changed)
	}
	sum.Rules = rules
	if _, changed := plan(sum, all); changed {
		t.Error("the same again is a change")
	}
	if _, changed := plan(role("plain", "a", rule("pods")), all); changed {
		t.Error("a role of its own rules is changed")
	}
}
