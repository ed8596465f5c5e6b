// Package rbac is the access policy that every cluster starts with: the
// default roles, who holds them, and how they are mended at start.
package rbac

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
)

const (
	bootstrapping = "kubernetes.io/bootstrapping"
	// Autoupdate, set to "false" on an object, keeps it from being mended.
	Autoupdate  = "rbac.authorization.kubernetes.io/autoupdate"
	aggregateTo = "rbac.authorization.k8s.io/aggregate-to-"
)

// role is a ClusterRole, or a Role when it has a namespace.
type role struct {
	name, namespace string
	// aggregateTo and aggregates name one of admin, edit and view.
	aggregateTo, aggregates string
	rules                   []rbacv1.PolicyRule
}

// binding is a ClusterRoleBinding, or a RoleBinding when it has a namespace.
type binding struct {
	name, namespace string
	role            string
	subjects        []rbacv1.Subject
}

// on is a rule about resources; groups, resources and verbs are lists with
// commas, where an empty item of groups is the core group.
func on(groups, resources, verbs string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: list(verbs), APIGroups: list(groups), Resources: list(resources), ResourceNames: names}
}

// urls is a rule about paths that are no resources.
func urls(verbs, paths string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: list(verbs), NonResourceURLs: list(paths)}
}

func list(s string) []string { return strings.Split(s, ",") }

func user(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}
}

func group(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name}
}

func account(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: metav1.NamespaceSystem}
}

// Objects is the whole policy: cluster roles, their bindings, roles, theirs.
func Objects() []scheme.Object {
	var out []scheme.Object
	for _, set := range [][]role{userRoles(), controllerRoles(), componentRoles()} {
		for _, r := range set {
			out = append(out, r.clusterRole())
		}
	}
	for _, b := range clusterBindings() {
		out = append(out, b.clusterRoleBinding())
	}
	for _, r := range controllerRoles() {
		b := binding{name: r.name, subjects: []rbacv1.Subject{account(strings.TrimPrefix(r.name, "system:controller:"))}}
		out = append(out, b.clusterRoleBinding())
	}
	for _, r := range namespacedRoles() {
		out = append(out, &rbacv1.Role{ObjectMeta: meta(r.name, r.namespace), Rules: r.rules})
	}
	for _, b := range namespacedBindings() {
		out = append(out, &rbacv1.RoleBinding{ObjectMeta: meta(b.name, b.namespace), Subjects: b.subjects, RoleRef: b.ref("Role")})
	}
	return out
}

func meta(name, namespace string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: namespace,
		Labels:      map[string]string{bootstrapping: "rbac-defaults"},
		Annotations: map[string]string{Autoupdate: "true"},
	}
}

func (r *role) clusterRole() *rbacv1.ClusterRole {
	c := &rbacv1.ClusterRole{ObjectMeta: meta(r.name, ""), Rules: r.rules}
	if r.aggregateTo != "" {
		c.Labels[aggregateTo+r.aggregateTo] = "true"
	}
	if r.aggregates != "" {
		c.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{
			{MatchLabels: map[string]string{aggregateTo + r.aggregates: "true"}},
		}}
	}
	return c
}

func (b *binding) clusterRoleBinding() *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{ObjectMeta: meta(b.name, ""), Subjects: b.subjects, RoleRef: b.ref("ClusterRole")}
}

func (b *binding) ref(kind string) rbacv1.RoleRef {
	name := b.role
	if name == "" {
		name = b.name
	}
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}
