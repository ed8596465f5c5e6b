package rbac

import (
	"context"
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/authz/authztest"
	"xebec.dev/apiserver/internal/request"
)

func rules(r ...rbacv1.PolicyRule) []rbacv1.PolicyRule { return r }

func allow(groups, resources, verbs string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: strings.Split(groups, ","), Resources: strings.Split(resources, ","), Verbs: strings.Split(verbs, ","), ResourceNames: names}
}

func urls(paths, verbs string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{NonResourceURLs: strings.Split(paths, ","), Verbs: strings.Split(verbs, ",")}
}

func newRole(ns, name string, r ...rbacv1.PolicyRule) *rbacv1.Role {
	return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Rules: r}
}

func newClusterRole(name string, r ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: r}
}

func bind(ns, name, kind, role string, s ...rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, RoleRef: rbacv1.RoleRef{Kind: kind, Name: role}, Subjects: s}
}

func bindCluster(name, role string, s ...rbacv1.Subject) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: role}, Subjects: s}
}

func subject(kind, name string) rbacv1.Subject { return rbacv1.Subject{Kind: kind, Name: name} }

// ask reads "verb resource[.group][/sub] [ns/]name", or "verb /path".
func ask(s string) *request.Info {
	f := strings.Fields(s)
	a := &request.Info{Verb: f[0]}
	if strings.HasPrefix(f[1], "/") {
		a.Path = f[1]
		return a
	}
	a.IsResource = true
	var rest string
	rest, a.Subresource, _ = strings.Cut(f[1], "/")
	a.Resource, a.Group, _ = strings.Cut(rest, ".")
	if len(f) > 2 {
		a.Namespace, a.Name, _ = strings.Cut(f[2], "/")
	}
	return a
}

func TestAuthorize(t *testing.T) {
	const user, group, sa = rbacv1.UserKind, rbacv1.GroupKind, rbacv1.ServiceAccountKind
	reader := authztest.NewReader(
		newClusterRole("discovery", urls("/api,/apis/*,/version", "get")),
		bindCluster("discovery", "discovery", subject(group, "all")),
		newClusterRole("anything", allow("*", "*", "*")),
		bindCluster("anything", "anything", subject(user, "root")),
		newClusterRole("reader", allow(",apps", "pods,pods/log,*/scale", "get,list")),
		bind("n", "readers", "ClusterRole", "reader", subject(group, "devs"), subject(sa, "s"), rbacv1.Subject{Kind: sa, Namespace: "o", Name: "s"}),
		newRole("n", "named", allow("", "configmaps", "get,list,create,update", "a")),
		bind("n", "named", "Role", "named", subject(user, "u")),
		newRole("n", "own", allow("", "namespaces", "get"), urls("/x", "get")),
		bind("n", "own", "Role", "own", subject(user, "u")),
		bind("n", "broken", "Role", "nope", subject(user, "b")),
		bind("n", "broken2", "ClusterRole", "nope", subject(user, "b")),
		newClusterRole("metrics", urls("/metrics*", "*")),
		bindCluster("metrics", "metrics", subject(user, "prometheus")),
		newClusterRole("groupstar", allow("apps", "deployments/*", "get")),
		bindCluster("groupstar", "groupstar", subject(user, "gs")),
	)
	z := New(reader, authztest.Scheme())
	cases := []struct{ user, groups, ask, reason string }{ // reason "-" when refused
		{"x", "all", "get /api", `RBAC: allowed by ClusterRoleBinding "discovery" of ClusterRole "discovery" to Group "all"`},
		{"x", "all", "get /apis/apps", `RBAC: allowed by ClusterRoleBinding "discovery" of ClusterRole "discovery" to Group "all"`},
		{"x", "all", "get /apis", "-"},
		{"x", "all", "post /api", "-"},
		{"x", "", "get /api", "-"},
		{"root", "", "impersonate users", `RBAC: allowed by ClusterRoleBinding "anything" of ClusterRole "anything" to User "root"`},
		{"root", "", "get /metrics", "-"},
		{"x", "devs", "get pods n/a", `RBAC: allowed by RoleBinding "readers/n" of ClusterRole "reader" to Group "devs"`},
		{"x", "devs", "get pods/log n/a", `RBAC: allowed by RoleBinding "readers/n" of ClusterRole "reader" to Group "devs"`},
		{"x", "devs", "get deployments.apps/scale n/a", `RBAC: allowed by RoleBinding "readers/n" of ClusterRole "reader" to Group "devs"`},
		{"x", "devs", "get pods/exec n/a", "-"},
		{"x", "devs", "get pods o/a", "-"},
		{"x", "devs", "list pods", "-"},
		{"x", "devs", "get pods.batch n/a", "-"},
		{"system:serviceaccount:n:s", "", "list pods n", `RBAC: allowed by RoleBinding "readers/n" of ClusterRole "reader" to ServiceAccount "s/n"`},
		{"system:serviceaccount:o:s", "", "list pods n", `RBAC: allowed by RoleBinding "readers/n" of ClusterRole "reader" to ServiceAccount "s/o"`},
		{"system:serviceaccount:p:s", "", "list pods n", "-"},
		{"u", "", "get configmaps n/a", `RBAC: allowed by RoleBinding "named/n" of Role "named" to User "u"`},
		{"u", "", "get configmaps n/b", "-"},
		{"u", "", "list configmaps n", "-"},
		{"u", "", "create configmaps n", "-"},
		{"u", "", "get namespaces n/n", `RBAC: allowed by RoleBinding "own/n" of Role "own" to User "u"`},
		{"u", "", "get /x", "-"},
		{"b", "", "get pods n/a", `-RBAC: [role.rbac.authorization.k8s.io "nope" not found, clusterrole.rbac.authorization.k8s.io "nope" not found]`},
		{"prometheus", "", "get /metrics/slis", `RBAC: allowed by ClusterRoleBinding "metrics" of ClusterRole "metrics" to User "prometheus"`},
		{"gs", "", "get deployments.apps/scale n/a", "-"},
	}
	for _, c := range cases {
		u := &request.User{Name: c.user, Groups: strings.Fields(c.groups)}
		d, reason, err := z.Authorize(context.Background(), u, ask(c.ask))
		if err != nil {
			t.Errorf("%s: %v", c.ask, err)
		}
		if want, refused := strings.CutPrefix(c.reason, "-"); refused != (d != authz.Allow) || reason != want {
			t.Errorf("%s %s: %v %q, want %q", c.user, c.ask, d, reason, c.reason)
		}
	}
}

func TestChangesAreSeen(t *testing.T) {
	reader := authztest.NewReader()
	z := New(reader, authztest.Scheme())
	u := &request.User{Name: "u"}
	allowed := func(q string) bool {
		d, _, _ := z.Authorize(context.Background(), u, ask(q))
		return d == authz.Allow
	}
	if allowed("get pods n/a") {
		t.Fatal("allowed by nothing")
	}
	r, b := newRole("n", "r", allow("", "pods", "get")), bind("n", "b", "Role", "r", subject(rbacv1.UserKind, "u"))
	reader.Put(b)
	if allowed("get pods n/a") {
		t.Fatal("allowed without the role")
	}
	reader.Put(r)
	if !allowed("get pods n/a") {
		t.Fatal("role not seen")
	}
	before := z.index()
	reader.Put(bind("m", "b", "Role", "r", subject(rbacv1.UserKind, "u")))
	if allowed("get pods m/a") || before.namespaces["n"] != z.index().namespaces["n"] {
		t.Fatal("another namespace was compiled again")
	}
	reader.Put(newRole("n", "r", allow("", "pods", "list")))
	if allowed("get pods n/a") || !allowed("list pods n") {
		t.Fatal("change of rules not seen")
	}
	reader.Remove(b)
	if allowed("list pods n") {
		t.Fatal("removal not seen")
	}
}

func TestCovers(t *testing.T) {
	cases := []struct {
		held, wanted []rbacv1.PolicyRule
		missing      string
	}{
		{nil, nil, ""},
		{nil, rules(rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}}), ""}, // no verbs: nothing is granted
		{rules(allow("", "pods", "get")), rules(allow("", "pods", "get,watch")), `{APIGroups:[""], Resources:["pods"], Verbs:["watch"]}`},
		{rules(allow("", "pods", "get"), allow("", "secrets", "*")), rules(allow("", "secrets,pods", "get")), ""},
		{rules(allow("*", "*", "*")), rules(allow("a,b", "c/d", "*", "x")), ""},
		{rules(allow("*", "*", "*")), rules(urls("/a", "get")), `{NonResourceURLs:["/a"], Verbs:["get"]}`},
		{rules(urls("/a/*", "get")), rules(urls("/a/b,/a/*", "get")), ""},
		{rules(allow("", "pods", "get", "a")), rules(allow("", "pods", "get", "a", "b")), `{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}`},
		{rules(allow("", "pods", "get", "a")), rules(allow("", "pods", "get")), `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`},
		{rules(allow("", "pods", "*")), rules(allow("", "pods/log", "get")), `{APIGroups:[""], Resources:["pods/log"], Verbs:["get"]}`},
		{rules(allow("", "*/scale", "*")), rules(allow("", "x/scale", "get")), ""},
		{nil, rules(allow("a", "r", "get,list", "n"), allow("a", "r", "list,watch", "n")), `{APIGroups:["a"], Resources:["r"], ResourceNames:["n"], Verbs:["get" "list" "watch"]}`},
	}
	for i, c := range cases {
		ok, missing := Covers(c.held, c.wanted)
		if got := describeRules(missing); got != c.missing || ok != (got == "") {
			t.Errorf("%d: %q, want %q", i, got, c.missing)
		}
	}
}

func TestAggregate(t *testing.T) {
	labelled := func(name, label string, r ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
		c := newClusterRole(name, r...)
		c.Labels = map[string]string{label: "true"}
		return c
	}
	view := labelled("view", "to-view")
	view.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"to-view": "true"}}}}
	all := []*rbacv1.ClusterRole{
		labelled("b", "to-view", allow("", "b", "get")), view,
		labelled("a", "to-view", allow("", "a", "get"), allow("", "b", "get")), labelled("c", "other", allow("", "c", "get")),
	}
	got, changed, err := Aggregate(view, all)
	if err != nil || !changed || fmt.Sprint(got) != fmt.Sprint(rules(allow("", "a", "get"), allow("", "b", "get"))) {
		t.Errorf("%v %v %v", got, changed, err)
	}
	view.Rules = got
	if _, changed, _ = Aggregate(view, all); changed {
		t.Error("changed again")
	}
}

// BenchmarkAuthorize is a service account in a cluster with 5000 bindings
// whose right comes from its namespace.
func BenchmarkAuthorize(b *testing.B) {
	reader := authztest.NewReader(
		newClusterRole("view", allow("", "a,b,c,d,e,f,pods", "get,list,watch")),
		newClusterRole("basic", allow("authorization.k8s.io", "selfsubjectaccessreviews", "create"), urls("/api,/api/*,/version", "get")),
		bindCluster("basic", "basic", subject(rbacv1.GroupKind, "system:authenticated")),
	)
	for i := range 5000 {
		reader.Put(bind(fmt.Sprintf("n%d", i%100), fmt.Sprintf("b%d", i), "ClusterRole", "view", subject(rbacv1.ServiceAccountKind, fmt.Sprintf("s%d", i))))
	}
	z := New(reader, authztest.Scheme())
	u := &request.User{Name: "system:serviceaccount:n7:s107", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:n7", "system:authenticated"}}
	a := ask("list pods n7/")
	b.ReportAllocs()
	for b.Loop() {
		if d, _, _ := z.Authorize(context.Background(), u, a); d != authz.Allow {
			b.Fatal("refused")
		}
	}
}
