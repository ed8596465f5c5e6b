package nodetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fileSystems gives directories bounds.
func (n *Node) fileSystems() error {
	// The API's store waits for no disk: one that others keep busy makes writes
	// late, and their outcome unknown.
	store := "1g"
	if n.o.Standalone {
		store = ""
	}
	for dir, size := range map[string]string{n.Root(): n.o.RootSize, filepath.Join(n.Dir, "root"): n.o.ImageSize, filepath.Join(n.Dir, "api"): store} {
		if size == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
			return fmt.Errorf("mount tmpfs at %s: %w", dir, err)
		}
	}
	return nil
}

func (n *Node) runControllers() error {
	if n.o.Controllers == nil {
		return nil
	}
	pki := filepath.Join(n.Dir, "api", "pki")
	args := append([]string{
		"--kubeconfig=" + n.kubeconfig(), "--leader-elect=false", "--bind-address=127.0.0.1",
		"--cluster-signing-cert-file=" + filepath.Join(pki, "ca.crt"), "--cluster-signing-key-file=" + filepath.Join(pki, "ca.key"),
	}, n.o.Controllers...)
	var err error
	if n.manager, err = n.inside(n.log, "", Binary("kube-controller-manager"), args...); err != nil {
		return fmt.Errorf("start kube-controller-manager (make build makes it): %w", err)
	}
	return nil
}

// The bootstrap token, in two halves.
const (
	tokenID     = "abcdef"
	tokenSecret = "0123456789abcdef"
)

// Identity is the kubeconfig that a kubelet with a bootstrap token writes.
func (n *Node) Identity() string { return filepath.Join(n.Dir, "kubelet.conf") }

// bootstrap makes what kubeadm would: a token, who may ask for certificates,
// and whose requests are approved.
func (n *Node) bootstrap() error {
	if !n.o.Bootstrap {
		return nil
	}
	ctx := context.Background()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "bootstrap-token-" + tokenID}, Type: "bootstrap.kubernetes.io/token",
		StringData: map[string]string{"token-id": tokenID, "token-secret": tokenSecret, "usage-bootstrap-authentication": "true", "auth-extra-groups": "system:bootstrappers:test"},
	}
	if _, err := n.Client.CoreV1().Secrets(secret.Namespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return err
	}
	const requests = "system:certificates.k8s.io:certificatesigningrequests:"
	for role, group := range map[string]string{
		"system:node-bootstrapper": "system:bootstrappers:test", requests + "nodeclient": "system:bootstrappers:test", requests + "selfnodeclient": "system:nodes",
	} {
		if _, err := n.Client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "test:" + role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group}},
		}, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	const config = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", certificate-authority: %q}}]
users: [{name: u, user: {token: %s.%s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`
	return os.WriteFile(filepath.Join(n.Dir, "bootstrap.conf"), fmt.Appendf(nil, config, filepath.Join(n.Dir, "api", "pki", "ca.crt"), tokenID, tokenSecret), 0o600)
}
