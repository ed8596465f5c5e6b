package rbac

import rbacv1 "k8s.io/api/rbac/v1"

// clusterBindings bind a ClusterRole of the same name. Those of the
// controllers follow from controllerRoles.
func clusterBindings() []binding {
	return []binding{
		{name: "cluster-admin", subjects: []rbacv1.Subject{group("system:masters")}},
		{name: "system:basic-user", subjects: []rbacv1.Subject{group("system:authenticated")}},
		{name: "system:discovery", subjects: []rbacv1.Subject{group("system:authenticated")}},
		{name: "system:kube-controller-manager", subjects: []rbacv1.Subject{user("system:kube-controller-manager")}},
		{name: "system:kube-dns", subjects: []rbacv1.Subject{account("kube-dns")}},
		{name: "system:kube-scheduler", subjects: []rbacv1.Subject{user("system:kube-scheduler")}},
		{name: "system:monitoring", subjects: []rbacv1.Subject{group("system:monitoring")}},
		{name: "system:node"},
		{name: "system:node-proxier", subjects: []rbacv1.Subject{user("system:kube-proxy")}},
		{name: "system:public-info-viewer", subjects: []rbacv1.Subject{group("system:authenticated"), group("system:unauthenticated")}},
		{name: "system:service-account-issuer-discovery", subjects: []rbacv1.Subject{group("system:serviceaccounts")}},
		{name: "system:volume-scheduler", subjects: []rbacv1.Subject{user("system:kube-scheduler")}},
	}
}

// namespacedBindings bind a Role of the namespace, of the same name unless
// another is given.
func namespacedBindings() []binding {
	return []binding{
		{name: "system:controller:bootstrap-signer", namespace: "kube-public", subjects: []rbacv1.Subject{account("bootstrap-signer")}},
		{name: "system::extension-apiserver-authentication-reader", namespace: "kube-system", role: "extension-apiserver-authentication-reader", subjects: []rbacv1.Subject{user("system:kube-controller-manager"), user("system:kube-scheduler")}},
		{name: "system::leader-locking-kube-controller-manager", namespace: "kube-system", subjects: []rbacv1.Subject{user("system:kube-controller-manager"), account("kube-controller-manager"), account("leader-election-controller")}},
		{name: "system::leader-locking-kube-scheduler", namespace: "kube-system", subjects: []rbacv1.Subject{user("system:kube-scheduler"), account("kube-scheduler")}},
		{name: "system:controller:bootstrap-signer", namespace: "kube-system", subjects: []rbacv1.Subject{account("bootstrap-signer")}},
		{name: "system:controller:cloud-provider", namespace: "kube-system", subjects: []rbacv1.Subject{account("cloud-provider")}},
		{name: "system:controller:token-cleaner", namespace: "kube-system", subjects: []rbacv1.Subject{account("token-cleaner")}},
	}
}
