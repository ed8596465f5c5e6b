package bootstrap

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubelet"
	"xebec.dev/deploy/internal/pki"
)

// Names of what kubeadm keeps in a cluster.
const (
	configMapKubeadm     = "kubeadm-config"
	configMapKubelet     = "kubelet-config"
	configMapClusterInfo = "cluster-info"
	secretCerts          = "kubeadm-certs"
)

func group(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name}
}

func clusterBinding(name, role string, subjects ...rbacv1.Subject) runtime.Object {
	return &rbacv1.ClusterRoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}, Subjects: subjects,
	}
}

// readable lets subjects get one object of a namespace: a Role and its binding.
func readable(namespace, role, resource, name string, subjects ...rbacv1.Subject) []runtime.Object {
	return []runtime.Object{
		&rbacv1.Role{
			TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "Role"},
			ObjectMeta: metav1.ObjectMeta{Name: role, Namespace: namespace},
			Rules:      []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{resource}, ResourceNames: []string{name}}},
		},
		&rbacv1.RoleBinding{
			TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: role, Namespace: namespace},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role}, Subjects: subjects,
		},
	}
}

func configMap(namespace, name string, data map[string]string) runtime.Object {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Data: data,
	}
}

// adminObjects make the administrators' group what its name says; only a
// member of system:masters can write them at first.
func adminObjects() []runtime.Object {
	return []runtime.Object{clusterBinding(pki.ClusterAdmins, "cluster-admin", group(pki.ClusterAdmins))}
}

// nodeSubjects are nodes, and machines that are about to be.
func nodeSubjects() []rbacv1.Subject {
	return []rbacv1.Subject{group(kubeadm.NodeTokenGroup), group("system:nodes")}
}

// clusterObjects keep the configuration in the cluster, where joining nodes
// and upgrades read it.
func clusterObjects(c *kubeadm.ClusterConfiguration) ([]runtime.Object, error) {
	cluster, err := kubeadm.Print(c)
	if err != nil {
		return nil, err
	}
	m := configMap(metav1.NamespaceSystem, configMapKubeadm, map[string]string{"ClusterConfiguration": string(cluster)})
	return append([]runtime.Object{m}, readable(metav1.NamespaceSystem, "kubeadm:nodes-kubeadm-config", "configmaps", configMapKubeadm, nodeSubjects()...)...), nil
}

// kubeletObjects keep what kubelets have in common.
func kubeletObjects(config map[string]any) ([]runtime.Object, error) {
	shared, err := kubelet.Marshal(config)
	if err != nil {
		return nil, err
	}
	m := configMap(metav1.NamespaceSystem, configMapKubelet, map[string]string{"kubelet": string(shared)})
	return append([]runtime.Object{m}, readable(metav1.NamespaceSystem, "kubeadm:kubelet-config", "configmaps", configMapKubelet, nodeSubjects()...)...), nil
}

// bootstrapperObjects let nodes that come with a token ask for certificates
// and have them approved and renewed.
func bootstrapperObjects() []runtime.Object {
	tokens := group(kubeadm.NodeTokenGroup)
	const requests = "system:certificates.k8s.io:certificatesigningrequests:"
	return []runtime.Object{
		&rbacv1.ClusterRole{
			TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole"},
			ObjectMeta: metav1.ObjectMeta{Name: "kubeadm:get-nodes"},
			Rules:      []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"nodes"}}},
		},
		clusterBinding("kubeadm:get-nodes", "kubeadm:get-nodes", tokens),
		clusterBinding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", tokens),
		clusterBinding("kubeadm:node-autoapprove-bootstrap", requests+"nodeclient", tokens),
		clusterBinding("kubeadm:node-autoapprove-certificate-rotation", requests+"selfnodeclient", group("system:nodes")),
	}
}

// clusterInfoObjects publish where the API server is, and its authority, to
// everybody: tokens vouch for it.
func clusterInfoObjects(kubeconfig []byte) []runtime.Object {
	out := []runtime.Object{configMap(metav1.NamespacePublic, configMapClusterInfo, map[string]string{"kubeconfig": string(kubeconfig)})}
	return append(out, readable(metav1.NamespacePublic, "kubeadm:bootstrap-signer-clusterinfo", "configmaps", configMapClusterInfo,
		rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "system:anonymous"})...)
}

// toMap is an object as JSON would have it, without an empty status.
func toMap(obj runtime.Object) (map[string]any, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("convert %T: %w", obj, err)
	}
	delete(m, "status")
	if meta, ok := m["metadata"].(map[string]any); ok && meta["creationTimestamp"] == nil {
		delete(meta, "creationTimestamp")
	}
	return m, nil
}
