// Package rbac has the resources of the API group rbac.authorization.k8s.io: names, defaults, validation,
// columns and update rules.
package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	rbacv1beta1 "k8s.io/api/rbac/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding",
			Plural: "clusterrolebindings", Singular: "clusterrolebinding",
			New:           func() runtime.Object { return new(rbacv1.ClusterRoleBinding) },
			NewList:       func() runtime.Object { return new(rbacv1.ClusterRoleBindingList) },
			StoragePrefix: "clusterrolebindings",
			Strategy:      clusterRoleBindingHooks.Erase(),
			Columns:       bindingColumns(rbacv1beta1.ClusterRoleBinding{}, "clusterRoleBinding"),
			Row:           scheme.Rows(clusterRoleBindingRow),
		},
		{
			Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole",
			Plural: "clusterroles", Singular: "clusterrole",
			New:           func() runtime.Object { return new(rbacv1.ClusterRole) },
			NewList:       func() runtime.Object { return new(rbacv1.ClusterRoleList) },
			StoragePrefix: "clusterroles",
			Strategy:      clusterRoleHooks.Erase(),
		},
		{
			Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding",
			Plural: "rolebindings", Singular: "rolebinding",
			Namespaced:    true,
			New:           func() runtime.Object { return new(rbacv1.RoleBinding) },
			NewList:       func() runtime.Object { return new(rbacv1.RoleBindingList) },
			StoragePrefix: "rolebindings",
			Strategy:      roleBindingHooks.Erase(),
			Columns:       bindingColumns(rbacv1beta1.RoleBinding{}, "roleBinding"),
			Row:           scheme.Rows(roleBindingRow),
		},
		{
			Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role",
			Plural: "roles", Singular: "role",
			Namespaced:    true,
			New:           func() runtime.Object { return new(rbacv1.Role) },
			NewList:       func() runtime.Object { return new(rbacv1.RoleList) },
			StoragePrefix: "roles",
			Strategy:      roleHooks.Erase(),
		},
	}
}
