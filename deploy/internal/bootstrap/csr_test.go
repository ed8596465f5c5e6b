package bootstrap

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xebec.dev/deploy/internal/golden"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/pki"
)

// authority signs what it is asked for, as one outside of the cluster does.
type authority struct {
	*pki.Pair
	serial int64
}

func newAuthority(t *testing.T, cn string) *authority {
	t.Helper()
	p, err := pki.Issue(pki.Spec{Name: cn, CN: cn}, nil, "ECDSA-P256", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{Pair: p}
}

// sign gives the certificate for a request, with the extensions asked for.
func (a *authority) sign(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := pem.Decode(raw)
	if b == nil || b.Type != "CERTIFICATE REQUEST" {
		t.Fatalf("%s is no request", path)
	}
	r, err := x509.ParseCertificateRequest(b.Bytes)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	a.serial++
	c := &x509.Certificate{SerialNumber: big.NewInt(a.serial), Subject: r.Subject, DNSNames: r.DNSNames, IPAddresses: r.IPAddresses, ExtraExtensions: r.Extensions,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(30 * time.Minute)}
	der, err := x509.CreateCertificate(rand.Reader, c, a.Cert, r.PublicKey, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestExternalAuthorities: keys and requests are made here, certificates
// elsewhere, and init is content with them, without any authority's key.
func TestExternalAuthorities(t *testing.T) {
	i, _ := newInit(t)
	if err := i.Requests("/etc/kubernetes"); err != nil {
		t.Fatal(err)
	}
	dir := i.path(i.Cluster.CertificatesDir)
	authorities := map[string]*authority{}
	specs, err := pki.Specs(i.Cluster, "node1", i.Config.LocalAPIEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	var asked strings.Builder
	for _, s := range specs {
		if s.CA == "" {
			a := newAuthority(t, s.CN)
			authorities[s.Name] = a
			if err := pki.WriteFile(filepath.Join(dir, s.Name+".crt"), a.CertPEM(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range specs {
		if s.CA == "" {
			continue
		}
		raw := authorities[s.CA].sign(t, filepath.Join(dir, s.Name+".csr"))
		if err := pki.WriteFile(filepath.Join(dir, s.Name+".crt"), raw, 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := pki.Read(dir, s.Name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&asked, pki.Spec{Name: s.Name, CA: s.CA, CN: p.Cert.Subject.CommonName, Org: p.Cert.Subject.Organization, DNS: p.Cert.DNSNames, IPs: p.Cert.IPAddresses, Uses: p.Cert.ExtKeyUsage},
			p.Cert.KeyUsage == x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment)
	}
	for _, k := range i.kubeconfigSpecs() {
		path := i.path(k.path)
		c, err := kubeconfig.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Users[0].User.KeyData) == 0 || len(c.Users[0].User.CertData) > 0 {
			t.Errorf("%s: expected a key, and no certificate yet", k.path)
		}
		c.Users[0].User.CertData = authorities["ca"].sign(t, path+".csr")
		c.Clusters[0].Cluster.CAData = authorities["ca"].CertPEM()
		if err := c.Write(path); err != nil {
			t.Fatal(err)
		}
		cert, err := c.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&asked, filepath.Base(k.path), cert.Subject)
	}
	golden.Check(t, "requests.txt", []byte(asked.String()))
	run(t, i, "certs", "kubeconfig")
	if _, err := os.Stat(filepath.Join(dir, "ca.key")); !os.IsNotExist(err) {
		t.Errorf("an authority's key is there: %v", err)
	}
	run(t, i, "control-plane/controller-manager")
	contains(t, i.path(layout.Manifests+"/kube-controller-manager.yaml"), "- --cluster-signing-key-file=\n")
	if err := i.Requests("/etc/kubernetes"); err == nil || !strings.Contains(err.Error(), "apiserver.key already exists") {
		t.Errorf("requests were written over: %v", err)
	}
	e, err := (&Certs{Node: i.Node, Cluster: i.Cluster}).Expirations(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(e.Certificates, e.CertificateAuthorities...) {
		if !c.ExternallyManaged || c.Missing || c.ResidualTime <= 0 {
			t.Errorf("%+v: expected it to be there and externally managed", c)
		}
	}
}
