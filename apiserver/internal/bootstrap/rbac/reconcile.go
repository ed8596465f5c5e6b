package rbac

import (
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	authz "xebec.dev/apiserver/internal/authz/rbac"
)

// Action is what to do with one object of the policy.
type Action int

const (
	// Keep leaves what is there.
	Keep Action = iota
	// Create stores the object anew.
	Create
	// Update replaces what is there.
	Update
	// Recreate deletes what is there and creates the object: the roleRef of
	// a binding cannot change.
	Recreate
)

func (a Action) String() string { return [...]string{"keep", "create", "update", "recreate"}[a] }

// Reconcile compares what is stored (nil when absent) with the policy and
// says what to do, with the object to store. What was taken away comes back;
// what was added stays. Autoupdate "false" protects an object.
func Reconcile(have, want scheme.Object) (Action, scheme.Object) {
	if have == nil {
		return Create, want
	}
	if have.GetAnnotations()[Autoupdate] == "false" {
		return Keep, have
	}
	next := have.DeepCopyObject().(scheme.Object)
	recreate := false
	switch w := want.(type) {
	case *rbacv1.ClusterRole:
		n := next.(*rbacv1.ClusterRole)
		n.AggregationRule = addSelectors(n.AggregationRule, w.AggregationRule)
		// The rules of an aggregating role are the controller's.
		if n.AggregationRule == nil {
			n.Rules = addRules(n.Rules, w.Rules)
		}
	case *rbacv1.Role:
		n := next.(*rbacv1.Role)
		n.Rules = addRules(n.Rules, w.Rules)
	case *rbacv1.ClusterRoleBinding:
		n := next.(*rbacv1.ClusterRoleBinding)
		n.Subjects = addSubjects(n.Subjects, w.Subjects)
		recreate, n.RoleRef = n.RoleRef != w.RoleRef, w.RoleRef
	case *rbacv1.RoleBinding:
		n := next.(*rbacv1.RoleBinding)
		n.Subjects = addSubjects(n.Subjects, w.Subjects)
		recreate, n.RoleRef = n.RoleRef != w.RoleRef, w.RoleRef
	default:
		panic(fmt.Sprintf("bootstrap: %T in the access policy", want))
	}
	next.SetLabels(addPairs(next.GetLabels(), want.GetLabels()))
	next.SetAnnotations(addPairs(next.GetAnnotations(), want.GetAnnotations()))
	switch {
	case recreate:
		next.SetUID("")
		next.SetResourceVersion("")
		next.SetCreationTimestamp(metav1.Time{})
		return Recreate, next
	case equality.Semantic.DeepEqual(have, next):
		return Keep, have
	}
	return Update, next
}

func addRules(have, want []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	if ok, missing := authz.Covers(have, want); !ok {
		return append(have, missing...)
	}
	return have
}

func addSelectors(have, want *rbacv1.AggregationRule) *rbacv1.AggregationRule {
	if want == nil {
		return have
	}
	if have == nil {
		return want.DeepCopy()
	}
	for _, s := range want.ClusterRoleSelectors {
		if !slices.ContainsFunc(have.ClusterRoleSelectors, func(h metav1.LabelSelector) bool { return equality.Semantic.DeepEqual(h, s) }) {
			have.ClusterRoleSelectors = append(have.ClusterRoleSelectors, s)
		}
	}
	return have
}

func addSubjects(have, want []rbacv1.Subject) []rbacv1.Subject {
	for _, s := range want {
		if !slices.Contains(have, s) {
			have = append(have, s)
		}
	}
	return have
}

// addPairs sets what is missing; a value that differs is the user's.
func addPairs(have, want map[string]string) map[string]string {
	for k, v := range want {
		if _, ok := have[k]; ok {
			continue
		}
		if have == nil {
			have = map[string]string{}
		}
		have[k] = v
	}
	return have
}
