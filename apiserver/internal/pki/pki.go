// Package pki makes what a server that was given nothing needs: a certificate
// authority, serving and client certificates, service account keys and a
// kubeconfig for the administrator, all below one directory.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	// backdate tolerates clocks that are behind ours.
	backdate = 5 * time.Minute
	// renewBefore is how much life a kept certificate must have at start.
	renewBefore = 30 * 24 * time.Hour
)

// Files are the paths made by Ensure.
type Files struct {
	CA, CAKey                 string
	Serving, ServingKey       string
	Admin, AdminKey           string
	Kubelet, KubeletKey       string
	AccountKey, AccountPublic string
	AdminKubeconfig           string
}

// Options say for whom the serving certificate is.
type Options struct {
	// Dir holds the files; made when missing.
	Dir string
	// Kubeconfig is where the administrator's kubeconfig goes.
	Kubeconfig string
	// URL is the server in the kubeconfig.
	URL   string
	IPs   []net.IP
	Names []string
}

// Ensure makes what is missing or near its end and keeps the rest, so that
// tokens and clients survive a restart.
func Ensure(o Options) (*Files, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(o.Dir, name) }
	f := &Files{
		CA: at("ca.crt"), CAKey: at("ca.key"), Serving: at("apiserver.crt"), ServingKey: at("apiserver.key"),
		Admin: at("admin.crt"), AdminKey: at("admin.key"),
		Kubelet: at("apiserver-kubelet-client.crt"), KubeletKey: at("apiserver-kubelet-client.key"),
		AccountKey: at("sa.key"), AccountPublic: at("sa.pub"), AdminKubeconfig: o.Kubeconfig,
	}
	ca, err := authority(f.CA, f.CAKey)
	if err != nil {
		return nil, err
	}
	leaves := []struct {
		cert, key string
		template  x509.Certificate
	}{
		{f.Serving, f.ServingKey, x509.Certificate{
			Subject: pkix.Name{CommonName: "kube-apiserver"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			DNSNames: o.Names, IPAddresses: o.IPs,
		}},
		{f.Admin, f.AdminKey, client("kubernetes-admin", "system:masters")},
		{f.Kubelet, f.KubeletKey, client("kube-apiserver-kubelet-client", "kubeadm:cluster-admins")},
	}
	for _, l := range leaves {
		if err := ca.leaf(l.cert, l.key, l.template); err != nil {
			return nil, err
		}
	}
	if err := accountKeys(f.AccountKey, f.AccountPublic); err != nil {
		return nil, err
	}
	if o.Kubeconfig == "" {
		return f, nil
	}
	return f, kubeconfig(o.Kubeconfig, o.URL, f)
}

func client(name, group string) x509.Certificate {
	return x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: []string{group}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func authority(certPath, keyPath string) (*issuer, error) {
	cert, key, err := load(certPath, keyPath)
	if err == nil {
		return &issuer{cert, key}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err = newKey(keyPath)
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{
		Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, DNSNames: []string{"kubernetes"},
	}
	if err := sign(certPath, &template, nil, key, key.Public(), authorityLife); err != nil {
		return nil, err
	}
	cert, key, err = load(certPath, keyPath)
	return &issuer{cert, key}, err
}

// leaf makes a certificate unless the one there is ours, lasts, and names
// what the template names.
func (i *issuer) leaf(certPath, keyPath string, template x509.Certificate) error {
	if cert, _, err := load(certPath, keyPath); err == nil && i.keeps(cert, &template) {
		return nil
	}
	key, err := newKey(keyPath)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	return sign(certPath, &template, i.cert, i.key, key.Public(), leafLife)
}

func (i *issuer) keeps(cert, template *x509.Certificate) bool {
	if cert.CheckSignatureFrom(i.cert) != nil || time.Until(cert.NotAfter) < renewBefore {
		return false
	}
	for _, name := range template.DNSNames {
		if cert.VerifyHostname(name) != nil {
			return false
		}
	}
	for _, ip := range template.IPAddresses {
		if cert.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}

func newKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "PRIVATE KEY", der, 0o600)
}

func sign(path string, template, parent *x509.Certificate, key crypto.Signer, public crypto.PublicKey, life time.Duration) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-backdate)
	template.NotAfter = time.Now().Add(life)
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return fmt.Errorf("sign %s: %w", path, err)
	}
	return writePEM(path, "CERTIFICATE", der, 0o644)
}

func accountKeys(private, public string) error {
	if _, err := os.Stat(private); err == nil {
		if _, err := os.Stat(public); err == nil {
			return nil
		}
	}
	key, err := newKey(private)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return writePEM(public, "PUBLIC KEY", der, 0o644)
}

func load(certPath, keyPath string) (*x509.Certificate, crypto.Signer, error) {
	certText, err := os.ReadFile(certPath)
	if err != nil {
		return nil, nil, err
	}
	keyText, err := os.ReadFile(keyPath)
	if err != nil {
		return nil, nil, err
	}
	certBlock, _ := pem.Decode(certText)
	keyBlock, _ := pem.Decode(keyText)
	if certBlock == nil || keyBlock == nil {
		return nil, nil, fmt.Errorf("%s and %s must be PEM files", certPath, keyPath)
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", certPath, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", keyPath, err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, nil, fmt.Errorf("%s holds a key that can't sign", keyPath)
	}
	return cert, key, nil
}

// writePEM replaces the file in one step.
func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func kubeconfig(path, url string, f *Files) error {
	var parts [3]string
	for i, p := range []string{f.CA, f.Admin, f.AdminKey} {
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		parts[i] = base64.StdEncoding.EncodeToString(b)
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: xebec
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: kubernetes-admin
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: kubernetes-admin@xebec
  context:
    cluster: xebec
    user: kubernetes-admin
current-context: kubernetes-admin@xebec
`, url, parts[0], parts[1], parts[2])
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
