package rbac

import rbacv1 "k8s.io/api/rbac/v1"

// componentRoles are for components, discovery and certificate approval.
func componentRoles() []role {
	return []role{
		{name: "system:auth-delegator", rules: []rbacv1.PolicyRule{
			on("authentication.k8s.io", "tokenreviews", "create"),
			on("authorization.k8s.io", "subjectaccessreviews", "create"),
		}},
		{name: "system:basic-user", rules: []rbacv1.PolicyRule{
			on("authorization.k8s.io", "selfsubjectaccessreviews,selfsubjectrulesreviews", "create"),
			on("authentication.k8s.io", "selfsubjectreviews", "create"),
		}},
		{name: "system:certificates.k8s.io:certificatesigningrequests:nodeclient", rules: []rbacv1.PolicyRule{
			on("certificates.k8s.io", "certificatesigningrequests/nodeclient", "create"),
		}},
		{name: "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", rules: []rbacv1.PolicyRule{
			on("certificates.k8s.io", "certificatesigningrequests/selfnodeclient", "create"),
		}},
		{name: "system:certificates.k8s.io:kube-apiserver-client-approver", rules: []rbacv1.PolicyRule{
			on("certificates.k8s.io", "signers", "approve", "kubernetes.io/kube-apiserver-client"),
		}},
		{name: "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", rules: []rbacv1.PolicyRule{
			on("certificates.k8s.io", "signers", "approve", "kubernetes.io/kube-apiserver-client-kubelet"),
		}},
		{name: "system:certificates.k8s.io:kubelet-serving-approver", rules: []rbacv1.PolicyRule{
			on("certificates.k8s.io", "signers", "approve", "kubernetes.io/kubelet-serving"),
		}},
		{name: "system:certificates.k8s.io:legacy-unknown-approver", rules: []rbacv1.PolicyRule{
			on("certificates.k8s.io", "signers", "approve", "kubernetes.io/legacy-unknown"),
		}},
		{name: "system:discovery", rules: []rbacv1.PolicyRule{
			urls("get", "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/"),
		}},
		{name: "system:heapster", rules: []rbacv1.PolicyRule{
			on("", "events,namespaces,nodes,pods", "get,list,watch"),
			on("extensions", "deployments", "get,list,watch"),
		}},
		{name: "system:kube-aggregator", rules: []rbacv1.PolicyRule{
			on("", "endpoints,services", "get,list,watch"),
		}},
		{name: "system:kube-controller-manager", rules: []rbacv1.PolicyRule{
			on(",events.k8s.io", "events", "create,patch,update"),
			on("coordination.k8s.io", "leases", "create"),
			on("coordination.k8s.io", "leases", "get,update", "kube-controller-manager"),
			on("", "secrets,serviceaccounts", "create"),
			on("", "secrets", "delete"),
			on("", "configmaps,namespaces,secrets,serviceaccounts", "get"),
			on("", "secrets,serviceaccounts", "update"),
			on("authentication.k8s.io", "tokenreviews", "create"),
			on("authorization.k8s.io", "subjectaccessreviews", "create"),
			on("*", "*", "list,watch"),
			on("", "serviceaccounts/token", "create"),
		}},
		{name: "system:kube-dns", rules: []rbacv1.PolicyRule{
			on("", "endpoints,services", "list,watch"),
		}},
		{name: "system:kube-scheduler", rules: []rbacv1.PolicyRule{
			on(",events.k8s.io", "events", "create,patch,update"),
			on("coordination.k8s.io", "leases", "create"),
			on("coordination.k8s.io", "leases", "get,list,update,watch", "kube-scheduler"),
			on("coordination.k8s.io", "leasecandidates", "create,delete,deletecollection,get,list,patch,update,watch"),
			on("", "nodes", "get,list,watch"),
			on("", "pods", "delete,get,list,watch"),
			on("", "bindings,pods/binding", "create"),
			on("", "pods/status", "patch,update"),
			on("", "replicationcontrollers,services", "get,list,watch"),
			on("apps,extensions", "replicasets", "get,list,watch"),
			on("apps", "statefulsets", "get,list,watch"),
			on("policy", "poddisruptionbudgets", "get,list,watch"),
			on("", "persistentvolumeclaims,persistentvolumes", "get,list,watch"),
			on("authentication.k8s.io", "tokenreviews", "create"),
			on("authorization.k8s.io", "subjectaccessreviews", "create"),
			on("storage.k8s.io", "csinodes", "get,list,watch"),
			on("storage.k8s.io", "volumeattachments", "get,list,watch"),
			on("", "namespaces", "get,list,watch"),
			on("storage.k8s.io", "csidrivers", "get,list,watch"),
			on("storage.k8s.io", "csistoragecapacities", "get,list,watch"),
			on("resource.k8s.io", "deviceclasses", "get,list,watch"),
			on("resource.k8s.io", "resourceclaims", "get,list,patch,update,watch"),
			on("resource.k8s.io", "resourceclaims/status", "get,list,patch,update,watch"),
			on("", "pods/finalizers", "update"),
			on("resource.k8s.io", "resourceslices", "get,list,watch"),
			on("resource.k8s.io", "resourceclaims", "create,delete"),
			on("resource.k8s.io", "resourceclaims/binding", "patch,update"),
		}},
		{name: "system:kubelet-api-admin", rules: []rbacv1.PolicyRule{
			on("", "nodes", "get,list,watch"),
			on("", "nodes", "proxy"),
			on("", "nodes/log,nodes/metrics,nodes/proxy,nodes/stats", "*"),
			on("", "nodes/configz,nodes/healthz,nodes/pods", "*"),
		}},
		{name: "system:monitoring", rules: []rbacv1.PolicyRule{
			urls("get", "/flagz,/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*,/statusz"),
			on("", "nodes/metrics", "get"),
		}},
		{name: "system:node", rules: []rbacv1.PolicyRule{
			on("authentication.k8s.io", "tokenreviews", "create"),
			on("authorization.k8s.io", "localsubjectaccessreviews,subjectaccessreviews", "create"),
			on("", "services", "get,list,watch"),
			on("", "nodes", "create,get,list,watch"),
			on("", "nodes/status", "patch,update"),
			on("", "nodes", "patch,update"),
			on(",events.k8s.io", "events", "create,patch,update"),
			on("", "pods", "get,list,watch"),
			on("", "pods", "create,delete"),
			on("", "pods/status", "patch,update"),
			on("", "pods/eviction", "create"),
			on("", "configmaps,secrets", "get,list,watch"),
			on("", "persistentvolumeclaims,persistentvolumes", "get"),
			on("", "endpoints", "get"),
			on("certificates.k8s.io", "certificatesigningrequests", "create,get,list,watch"),
			on("coordination.k8s.io", "leases", "create,delete,get,patch,update"),
			on("storage.k8s.io", "volumeattachments", "get"),
			on("", "serviceaccounts/token", "create"),
			on("", "persistentvolumeclaims/status", "get,patch,update"),
			on("storage.k8s.io", "csidrivers", "get,list,watch"),
			on("storage.k8s.io", "csinodes", "create,delete,get,patch,update"),
			on("node.k8s.io", "runtimeclasses", "get,list,watch"),
			on("resource.k8s.io", "resourceclaims", "get"),
			on("resource.k8s.io", "resourceslices", "deletecollection"),
			on("", "serviceaccounts", "get"),
		}},
		{name: "system:node-bootstrapper", rules: []rbacv1.PolicyRule{
			on("certificates.k8s.io", "certificatesigningrequests", "create,get,list,watch"),
		}},
		{name: "system:node-problem-detector", rules: []rbacv1.PolicyRule{
			on("", "nodes", "get"),
			on("", "nodes/status", "patch"),
			on(",events.k8s.io", "events", "create,patch,update"),
		}},
		{name: "system:node-proxier", rules: []rbacv1.PolicyRule{
			on("", "endpoints,services", "list,watch"),
			on("", "nodes", "get,list,watch"),
			on(",events.k8s.io", "events", "create,patch,update"),
			on("networking.k8s.io", "servicecidrs", "list,watch"),
			on("discovery.k8s.io", "endpointslices", "list,watch"),
		}},
		{name: "system:persistent-volume-provisioner", rules: []rbacv1.PolicyRule{
			on("", "persistentvolumes", "create,delete,get,list,watch"),
			on("", "persistentvolumeclaims", "get,list,update,watch"),
			on("storage.k8s.io", "storageclasses", "get,list,watch"),
			on("", "events", "watch"),
			on(",events.k8s.io", "events", "create,patch,update"),
		}},
		{name: "system:public-info-viewer", rules: []rbacv1.PolicyRule{
			urls("get", "/healthz,/livez,/readyz,/version,/version/"),
		}},
		{name: "system:service-account-issuer-discovery", rules: []rbacv1.PolicyRule{
			urls("get", "/.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/"),
		}},
		{name: "system:volume-scheduler", rules: []rbacv1.PolicyRule{
			on("", "persistentvolumes", "get,list,patch,update,watch"),
			on("storage.k8s.io", "storageclasses", "get,list,watch"),
			on("", "persistentvolumeclaims", "get,list,patch,update,watch"),
		}},
	}
}
