package pki

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xebec.dev/deploy/internal/golden"
	"xebec.dev/deploy/internal/kubeadm"
)

func config() *kubeadm.ClusterConfiguration {
	c := &kubeadm.ClusterConfiguration{ControlPlaneEndpoint: "lb.example:6443", APIServer: kubeadm.APIServer{CertSANs: []string{"api.example", "203.0.113.9", "10.0.0.1"}}}
	c.Default()
	return c
}

var endpoint = kubeadm.APIEndpoint{AdvertiseAddress: "10.0.0.1", BindPort: 6443}

func specs(t *testing.T) []Spec {
	t.Helper()
	s, err := Specs(config(), "node1", endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpecs(t *testing.T) {
	var b strings.Builder
	for _, s := range specs(t) {
		b.WriteString(s.String() + "\n")
	}
	golden.Check(t, "specs.txt", []byte(b.String()))
}

func maker(t *testing.T, dir string) *Maker {
	return &Maker{Dir: dir, Algorithm: "ECDSA-P256", Life: time.Hour, CALife: 2 * time.Hour, Now: time.Now(), Say: t.Logf}
}

func TestEnsureMakesWhatVerifies(t *testing.T) {
	dir := t.TempDir()
	m := maker(t, dir)
	if err := m.Ensure(specs(t)); err != nil {
		t.Fatal(err)
	}
	for _, s := range specs(t) {
		p, err := Read(dir, s.Name)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(filepath.Join(dir, s.Name+".key")); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("key of %s: %v %v", s.Name, st.Mode(), err)
		}
		if s.CA == "" {
			if !p.Cert.IsCA || p.Cert.Subject.CommonName != s.CN {
				t.Errorf("%s is no authority %s", s.Name, s.CN)
			}
			continue
		}
		ca, err := Read(dir, s.CA)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(ca.Cert)
		for _, use := range s.Uses {
			if _, err := p.Cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
		for _, d := range s.DNS {
			if err := p.Cert.VerifyHostname(d); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
		for _, ip := range s.IPs {
			if err := p.Cert.VerifyHostname(ip.String()); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Ensure(specs(t)); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "apiserver.crt")); err != nil || string(after) != string(before) {
		t.Errorf("a good certificate was made anew: %v", err)
	}
}

func TestEnsureRefusesWhatWouldFail(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		now   time.Duration
		want  string
	}{
		"expired":            {func(*testing.T, string) {}, 90 * time.Minute, "has expired"},
		"another authority":  {func(t *testing.T, dir string) { reissue(t, dir, "ca", func(s *Spec) {}) }, 0, "is not signed by ca"},
		"a name is missing":  {func(t *testing.T, dir string) { reissue(t, dir, "apiserver", func(s *Spec) { s.DNS = s.DNS[1:] }) }, 0, "does not name node1"},
		"another's key":      {func(t *testing.T, dir string) { copyTo(t, dir, "front-proxy-client.key", "apiserver.key") }, 0, "is not that of the certificate"},
		"no authority's key": {func(t *testing.T, dir string) { remove(t, dir, "ca.key", "apiserver.crt") }, 0, "key of its authority"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := maker(t, dir)
			if err := m.Ensure(specs(t)); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, dir)
			m.Now = m.Now.Add(c.now)
			if err := m.Ensure(specs(t)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, expected %q in it", err, c.want)
			}
		})
	}
}

func reissue(t *testing.T, dir, name string, change func(*Spec)) {
	t.Helper()
	for _, s := range specs(t) {
		if s.Name != name {
			continue
		}
		change(&s)
		var ca *Pair
		if s.CA != "" {
			var err error
			if ca, err = Read(dir, s.CA); err != nil {
				t.Fatal(err)
			}
		}
		p, err := Issue(s, ca, "ECDSA-P256", time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Write(dir, name); err != nil {
			t.Fatal(err)
		}
	}
}

func copyTo(t *testing.T, dir, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, from))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, to), raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.Remove(filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRenewedKeepsNames(t *testing.T) {
	dir := t.TempDir()
	if err := maker(t, dir).Ensure(specs(t)); err != nil {
		t.Fatal(err)
	}
	old, err := Read(dir, "apiserver")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := Read(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Renewed(old.Cert, ca, "ECDSA-P256", time.Now(), 3*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if p.Cert.Subject.String() != old.Cert.Subject.String() || strings.Join(p.Cert.DNSNames, " ") != strings.Join(old.Cert.DNSNames, " ") ||
		len(p.Cert.IPAddresses) != len(old.Cert.IPAddresses) || !p.Cert.NotAfter.After(old.Cert.NotAfter) || same(p.Key.Public(), old.Key.Public()) {
		t.Errorf("renewed: %v %v until %v", p.Cert.Subject, p.Cert.DNSNames, p.Cert.NotAfter)
	}
	if err := p.Cert.CheckSignatureFrom(ca.Cert); err != nil {
		t.Error(err)
	}
}

func TestServiceAccountKeys(t *testing.T) {
	dir := t.TempDir()
	m := maker(t, dir)
	for range 2 {
		if err := m.EnsureServiceAccountKeys(); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "sa.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := key.(*ecdsa.PrivateKey); !ok {
		t.Errorf("key is %T", key)
	}
	pub, err := os.ReadFile(filepath.Join(dir, "sa.pub"))
	if err != nil || !strings.HasPrefix(string(pub), "-----BEGIN PUBLIC KEY-----") {
		t.Errorf("public key: %q %v", pub, err)
	}
}

func TestKeysOfAllAlgorithms(t *testing.T) {
	for _, a := range []string{"RSA-2048", "ECDSA-P256", "ECDSA-P384"} {
		key, err := NewKey(a)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := keyPEM(key)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKey(raw)
		if err != nil || !same(key.Public(), again.Public()) {
			t.Errorf("%s: written and read it is another: %v", a, err)
		}
		if k, ok := key.(*rsa.PrivateKey); ok && k.N.BitLen() != 2048 {
			t.Errorf("%s has %d bits", a, k.N.BitLen())
		}
	}
	if _, err := NewKey("DSA"); err == nil {
		t.Error("DSA was taken")
	}
}
