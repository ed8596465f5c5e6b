package rbac

import rbacv1 "k8s.io/api/rbac/v1"

// namespacedRoles live in kube-system and kube-public.
func namespacedRoles() []role {
	return []role{
		{name: "system:controller:bootstrap-signer", namespace: "kube-public", rules: []rbacv1.PolicyRule{
			on("", "configmaps", "get,list,watch"),
			on("", "configmaps", "update", "cluster-info"),
			on(",events.k8s.io", "events", "create,patch,update"),
		}},
		{name: "extension-apiserver-authentication-reader", namespace: "kube-system", rules: []rbacv1.PolicyRule{
			on("", "configmaps", "get,list,watch", "extension-apiserver-authentication"),
		}},
		{name: "system::leader-locking-kube-controller-manager", namespace: "kube-system", rules: []rbacv1.PolicyRule{
			on("coordination.k8s.io", "leases", "create,get,list,update,watch"),
			on("coordination.k8s.io", "leasecandidates", "create,get,list,update,watch"),
		}},
		{name: "system::leader-locking-kube-scheduler", namespace: "kube-system", rules: []rbacv1.PolicyRule{
			on("coordination.k8s.io", "leases", "create,get,list,update,watch"),
			on("coordination.k8s.io", "leasecandidates", "create,get,list,update,watch"),
		}},
		{name: "system:controller:bootstrap-signer", namespace: "kube-system", rules: []rbacv1.PolicyRule{
			on("", "secrets", "get,list,watch"),
		}},
		{name: "system:controller:cloud-provider", namespace: "kube-system", rules: []rbacv1.PolicyRule{
			on("", "configmaps", "create,get,list,watch"),
		}},
		{name: "system:controller:token-cleaner", namespace: "kube-system", rules: []rbacv1.PolicyRule{
			on("", "secrets", "delete,get,list,watch"),
			on(",events.k8s.io", "events", "create,patch,update"),
		}},
	}
}
