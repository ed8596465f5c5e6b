package bootstrap

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/pki"
	"xebec.dev/deploy/internal/token"
)

var clientUse = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}

// certsLife is how long uploaded certificates stay, by a token whose end takes
// the Secret with it.
const certsLife = 2 * time.Hour

// NewCertificateKey makes the key that uploaded certificates are encrypted with.
func NewCertificateKey() (string, error) {
	raw := make([]byte, 32)
	_, err := rand.Read(raw)
	return hex.EncodeToString(raw), err
}

// sharedFiles are what control plane nodes have in common.
func sharedFiles(c *kubeadm.ClusterConfiguration) []string {
	files := []string{"ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub"}
	if c.Etcd.Local != nil {
		files = append(files, "etcd/ca.crt", "etcd/ca.key")
	}
	return files
}

func sealer(key string) (cipher.AEAD, error) {
	raw, err := hex.DecodeString(key)
	if err != nil || len(raw) != 32 {
		return nil, errors.New("certificate key: expected 64 hexadecimal digits, as certs certificate-key makes")
	}
	b, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// seal encrypts; the nonce stands before the rest.
func seal(data []byte, key string) ([]byte, error) {
	a, err := sealer(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, a.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return a.Seal(nonce, nonce, data, nil), nil
}

func unseal(data []byte, key string) ([]byte, error) {
	a, err := sealer(key)
	if err != nil {
		return nil, err
	}
	if len(data) < a.NonceSize() {
		return nil, errors.New("it is too short to be encrypted")
	}
	out, err := a.Open(nil, data[:a.NonceSize()], data[a.NonceSize():], nil)
	if err != nil {
		return nil, errors.New("the certificate key does not open it")
	}
	return out, nil
}

func (i *Init) uploadCerts(ctx context.Context) error {
	if !i.UploadCerts {
		i.say("upload-certs", "Skipping phase. Please see --upload-certs")
		return nil
	}
	if i.Config.CertificateKey == "" {
		key, err := NewCertificateKey()
		if err != nil {
			return err
		}
		i.Config.CertificateKey = key
	}
	data := map[string][]byte{}
	for _, f := range sharedFiles(i.Cluster) {
		raw, err := os.ReadFile(filepath.Join(i.path(i.Cluster.CertificatesDir), f))
		if err != nil {
			return err
		}
		if data[strings.ReplaceAll(f, "/", "-")], err = seal(raw, i.Config.CertificateKey); err != nil {
			return err
		}
	}
	t, err := token.Generate()
	if err != nil {
		return err
	}
	owner, err := token.Secret(kubeadm.BootstrapToken{Token: t, Description: "Proxy for managing TTL for the kubeadm-certs secret",
		TTL: &metav1.Duration{Duration: certsLife}}, time.Now())
	if err != nil {
		return err
	}
	if err := i.apply(ctx, owner); err != nil {
		return err
	}
	secret := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: secretCerts, Namespace: metav1.NamespaceSystem}, Data: data}
	if !i.DryRun {
		c, err := i.dial("/etc/kubernetes/admin.conf")
		if err != nil {
			return err
		}
		stored, err := client.Get[*corev1.Secret](ctx, c, metav1.NamespaceSystem, owner.Name)
		if err != nil {
			return err
		}
		yes := true
		secret.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: stored.Name, UID: stored.UID, Controller: &yes, BlockOwnerDeletion: &yes}}
	}
	if err := i.apply(ctx, secret); err != nil {
		return err
	}
	for _, o := range readable(metav1.NamespaceSystem, "kubeadm:kubeadm-certs", "secrets", secretCerts,
		rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: kubeadm.NodeTokenGroup}) {
		if err := i.apply(ctx, o); err != nil {
			return err
		}
	}
	i.say("upload-certs", "Storing the certificates in Secret %q in the %q Namespace", secretCerts, metav1.NamespaceSystem)
	if !i.HideKey {
		i.say("upload-certs", "Using certificate key:\n%s", i.Config.CertificateKey)
	}
	return nil
}

// downloadCerts writes what control plane nodes have in common.
func (j *Join) downloadCerts(ctx context.Context, c *client.Client) error {
	s, err := client.Get[*corev1.Secret](ctx, c, metav1.NamespaceSystem, secretCerts)
	if err != nil {
		return fmt.Errorf("read the uploaded certificates, which stay for %s (upload them again by: xebecadm init phase upload-certs --upload-certs): %w", certsLife, err)
	}
	for _, f := range sharedFiles(j.Cluster) {
		sealed, ok := s.Data[strings.ReplaceAll(f, "/", "-")]
		if !ok {
			return fmt.Errorf("Secret %s has no %s", secretCerts, f)
		}
		raw, err := unseal(sealed, j.Config.ControlPlane.CertificateKey)
		if err != nil {
			return fmt.Errorf("certificate %s of Secret %s: %w", f, secretCerts, err)
		}
		mode := os.FileMode(0o600)
		if strings.HasSuffix(f, ".crt") {
			mode = 0o644
		}
		if err := pki.WriteFile(filepath.Join(j.path(j.Cluster.CertificatesDir), f), raw, mode); err != nil {
			return err
		}
	}
	return nil
}
