package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/pki"
	"xebec.dev/deploy/internal/token"
)

// Tokens are the bootstrap tokens of a cluster.
type Tokens struct{ api *client.Client }

// OpenTokens connects with an administrator's kubeconfig.
func OpenTokens(path string) (*Tokens, error) {
	c, err := client.Dial(client.Config{Kubeconfig: path}, builtin.Scheme(), client.Options{UserAgent: manager})
	if err != nil {
		return nil, err
	}
	return &Tokens{c}, nil
}

// Close ends the connection.
func (t *Tokens) Close() error { return t.api.Close() }

// Create stores a token.
func (t *Tokens) Create(ctx context.Context, b kubeadm.BootstrapToken, now time.Time) error {
	s, err := token.Secret(b, now)
	if err != nil {
		return err
	}
	_, err = client.Create(ctx, t.api, s)
	return err
}

// List gives the tokens; Secrets that are none are told, not passed on.
func (t *Tokens) List(ctx context.Context, warn func(error)) ([]kubeadm.BootstrapToken, error) {
	secrets, _, err := client.List[*corev1.Secret](ctx, t.api, client.Selection{Namespace: metav1.NamespaceSystem, Fields: "type=" + string(corev1.SecretTypeBootstrapToken)})
	if err != nil {
		return nil, err
	}
	var out []kubeadm.BootstrapToken
	for _, s := range secrets {
		b, err := token.FromSecret(s)
		if err != nil {
			warn(err)
			continue
		}
		out = append(out, b)
	}
	return out, nil
}

// Delete removes a token by its id or the whole of it.
func (t *Tokens) Delete(ctx context.Context, tok string) error {
	id, _, _ := strings.Cut(tok, ".")
	if len(id) != 6 || tok != id && !kubeadm.ValidToken(tok) {
		return fmt.Errorf("given token %q does not match the patterns \"[a-z0-9]{6}\" or \"[a-z0-9]{6}.[a-z0-9]{16}\"", tok)
	}
	return client.Delete[*corev1.Secret](ctx, t.api, metav1.NamespaceSystem, token.SecretPrefix+id)
}

// ClusterInfo is where joining nodes find the cluster, and the hash of its
// authority.
func (t *Tokens) ClusterInfo(ctx context.Context) (endpoint, hash string, err error) {
	m, err := client.Get[*corev1.ConfigMap](ctx, t.api, metav1.NamespacePublic, configMapClusterInfo)
	if err != nil {
		return "", "", err
	}
	k, err := kubeconfig.Parse([]byte(m.Data["kubeconfig"]))
	if err != nil {
		return "", "", fmt.Errorf("ConfigMap kube-public/cluster-info: %w", err)
	}
	cl := k.Clusters[0].Cluster
	ca, err := pki.ParseCert(cl.CAData)
	if err != nil {
		return "", "", fmt.Errorf("ConfigMap kube-public/cluster-info: %w", err)
	}
	return strings.TrimPrefix(cl.Server, "https://"), pki.Hash(ca), nil
}

// ReadClusterConfig reads the configuration that the cluster keeps.
func ReadClusterConfig(ctx context.Context, path string) (*kubeadm.ClusterConfiguration, error) {
	t, err := OpenTokens(path)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	m, err := client.Get[*corev1.ConfigMap](ctx, t.api, metav1.NamespaceSystem, configMapKubeadm)
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap kube-system/%s: %w", configMapKubeadm, err)
	}
	f, err := kubeadm.Decode([]byte(m.Data["ClusterConfiguration"]))
	if err == nil && f.Cluster == nil {
		err = errors.New("it has no ClusterConfiguration")
	}
	if err != nil {
		return nil, fmt.Errorf("ConfigMap kube-system/%s: %w", configMapKubeadm, err)
	}
	f.Cluster.Default()
	return f.Cluster, nil
}
