package rbac

import (
	"context"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/authz/authztest"
	"xebec.dev/apiserver/internal/request"
)

const holds = `user "u" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:` + "\n"

func TestGuard(t *testing.T) {
	all := allow("rbac.authorization.k8s.io", "roles,rolebindings,clusterroles,clusterrolebindings", "create,update,patch")
	target := newRole("ns", "t", allow("", "secrets", "get"))
	x := func(r ...rbacv1.PolicyRule) *rbacv1.Role { return newRole("ns", "x", r...) }
	aggregating := newClusterRole("x")
	aggregating.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"a": "b"}}}}
	finalized := x(allow("", "pods", "get"))
	finalized.Finalizers = []string{"a/b"}
	labelled := x(allow("", "pods", "get"))
	labelled.Labels = map[string]string{"a": "b"}
	user := subject(rbacv1.UserKind, "bob")
	const roles, bindings = `roles.rbac.authorization.k8s.io "x" is forbidden: `, `rolebindings.rbac.authorization.k8s.io "x" is forbidden: `
	for name, c := range map[string]struct {
		held     []rbacv1.PolicyRule
		obj, old scheme.Object
		masters  bool
		err      string
	}{
		"one rule":             {nil, x(allow("", "pods", "get,list")), nil, false, roles + holds + `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`},
		"held":                 {rules(allow("", "pods", "*")), x(allow("", "pods", "get,list")), nil, false, ""},
		"masters":              {nil, x(allow("*", "*", "*")), nil, true, ""},
		"escalate":             {rules(allow("rbac.authorization.k8s.io", "roles", "escalate")), x(allow("*", "*", "*")), nil, false, ""},
		"escalate, other name": {rules(allow("rbac.authorization.k8s.io", "roles", "escalate", "y")), x(allow("", "a", "b")), x(), false, roles + holds + `{APIGroups:[""], Resources:["a"], Verbs:["b"]}`},
		"escalate, its name":   {rules(allow("rbac.authorization.k8s.io", "roles", "escalate", "x")), x(allow("", "a", "b")), x(), false, ""},
		"a label":              {nil, labelled, x(allow("", "pods", "get")), false, roles + holds + `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`},
		"only a finalizer":     {nil, x(allow("", "pods", "get")), finalized, false, ""},
		"several": {nil, x(allow(",apps", "secrets,pods", "list,get"), allow("batch", "jobs", "*", "a", "b")), nil, false, roles + holds +
			`{APIGroups:[""], Resources:["pods"], Verbs:["list" "get"]}` + "\n" + `{APIGroups:[""], Resources:["secrets"], Verbs:["list" "get"]}` + "\n" +
			`{APIGroups:["apps"], Resources:["pods"], Verbs:["list" "get"]}` + "\n" + `{APIGroups:["apps"], Resources:["secrets"], Verbs:["list" "get"]}` + "\n" +
			`{APIGroups:["batch"], Resources:["jobs"], ResourceNames:["a"], Verbs:["*"]}` + "\n" + `{APIGroups:["batch"], Resources:["jobs"], ResourceNames:["b"], Verbs:["*"]}`},
		"aggregation":          {nil, aggregating, nil, false, `clusterroles.rbac.authorization.k8s.io "x" is forbidden: must have cluster-admin privileges to use the aggregationRule`},
		"aggregation before":   {nil, newClusterRole("x"), aggregating, false, `clusterroles.rbac.authorization.k8s.io "x" is forbidden: must have cluster-admin privileges to use the aggregationRule`},
		"aggregation, held":    {rules(allow("*", "*", "*"), urls("*", "*")), aggregating, nil, false, ""},
		"bind":                 {nil, bind("ns", "x", "Role", "t", user), nil, false, bindings + holds + `{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}`},
		"bind no subjects":     {nil, bind("ns", "x", "Role", "t"), nil, false, bindings + holds + `{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}`},
		"bind held":            {rules(allow("", "secrets", "get")), bind("ns", "x", "Role", "t", user), nil, false, ""},
		"bind verb":            {rules(allow("rbac.authorization.k8s.io", "roles", "bind", "t")), bind("ns", "x", "Role", "t", user), nil, false, ""},
		"bind verb, other":     {rules(allow("rbac.authorization.k8s.io", "clusterroles", "bind")), bind("ns", "x", "Role", "t", user), nil, false, bindings + holds + `{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}`},
		"bind absent":          {nil, bind("ns", "x", "Role", "nope", user), nil, false, `rolebindings.rbac.authorization.k8s.io "nope" not found`},
		"bind absent, masters": {nil, bind("ns", "x", "Role", "nope", user), nil, true, ""},
		"bind admin": {nil, bindCluster("x", "admin", user), nil, false, `clusterrolebindings.rbac.authorization.k8s.io "x" is forbidden: ` + holds +
			`{APIGroups:["*"], Resources:["*"], Verbs:["*"]}` + "\n" + `{NonResourceURLs:["*"], Verbs:["*"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			reader := authztest.NewReader(target, newClusterRole("admin", allow("*", "*", "*"), urls("*", "*")),
				newClusterRole("mine", append(c.held, all)...), bindCluster("mine", "mine", subject(rbacv1.UserKind, "u")))
			z := New(reader, authztest.Scheme())
			u := &request.User{Name: "u", Groups: []string{"devs", "system:authenticated"}}
			if c.masters {
				u.Groups = []string{authz.MastersGroup}
			}
			a := &admission.Attributes{Operation: admission.Create, Resource: authztest.Resource(c.obj), Namespace: c.obj.GetNamespace(), Object: c.obj, User: u}
			if c.old != nil {
				a.Operation, a.Old, a.Name = admission.Update, c.old, c.obj.GetName()
			}
			err := NewGuard(z, authz.Union{authz.Masters{}, z}).Admit(context.Background(), a)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.err {
				t.Errorf("%s\nwant\n%s", got, c.err)
			}
		})
	}
	if !strings.HasPrefix(NewGuard(nil, nil).Name(), "RBAC") {
		t.Error("name")
	}
}
