package csrsigning

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/golden"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t *testing.T, key *ecdsa.PrivateKey, subject pkix.Name, dns []string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, DNSNames: dns}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// TestPlan reads lines "signer NAME", "subject CN ORG...", "dns NAME", "usages
// A,B", "seconds N", "until LEFT", "CONDITION", "issued" and "garbage".
func TestPlan(t *testing.T) {
	key := newKey(t)
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		r := &certificatesv1.CertificateSigningRequest{}
		r.Name = "r"
		var subject pkix.Name
		var dns []string
		until, garbage := now.AddDate(10, 0, 0), false
		for _, line := range in {
			word, rest, _ := strings.Cut(line, " ")
			switch word {
			case "signer":
				r.Spec.SignerName = "kubernetes.io/" + rest
			case "subject":
				words := strings.Fields(rest)
				subject = pkix.Name{CommonName: words[0], Organization: words[1:]}
			case "dns":
				dns = append(dns, rest)
			case "usages":
				for u := range strings.SplitSeq(rest, ",") {
					r.Spec.Usages = append(r.Spec.Usages, certificatesv1.KeyUsage(u))
				}
			case "seconds":
				n, _ := strconv.ParseInt(rest, 10, 32)
				s := int32(n)
				r.Spec.ExpirationSeconds = &s
			case "until":
				d, err := time.ParseDuration(rest)
				if err != nil {
					t.Fatal(err)
				}
				until = now.Add(d)
			case "garbage":
				garbage = true
			case "issued":
				r.Status.Certificate = []byte("x")
			default:
				r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: certificatesv1.RequestConditionType(word), Status: corev1.ConditionTrue})
			}
		}
		r.Spec.Request = request(t, key, subject, dns)
		if garbage {
			r.Spec.Request = []byte("garbage")
		}
		return plan(r, 365*24*time.Hour, until, now).String()
	})
}

// TestSign: what is signed verifies against its authority, and only files that
// fit together are taken.
func TestSign(t *testing.T) {
	dir := t.TempDir()
	caKey := newKey(t)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(caKey)
	if err != nil {
		t.Fatal(err)
	}
	f := files{filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")}
	for path, b := range map[string]*pem.Block{f.cert: {Type: "CERTIFICATE", Bytes: der}, f.key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	r := &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
		SignerName: "kubernetes.io/kube-apiserver-client", Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		Request: request(t, newKey(t), pkix.Name{CommonName: "jane"}, nil),
	}}
	r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue}}
	out, err := a.sign(plan(r, 24*time.Hour, a.cert.NotAfter, now).Template, now)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(out)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if cert.Subject.CommonName != "jane" || cert.IsCA || cert.NotAfter.After(a.cert.NotAfter) || cert.SerialNumber.BitLen() < 64 {
		t.Errorf("certificate %+v", cert)
	}
	if _, err := a.sign(plan(r, time.Hour, a.cert.NotAfter, now).Template, now.Add(2*time.Hour)); err == nil {
		t.Error("an expired authority signs")
	}
	for _, c := range []struct {
		config control.Config
		want   int // signers; -1 is an error
	}{
		{control.Config{}, 0},
		{control.Config{SigningCert: f.cert, SigningKey: f.key}, 4},
		{control.Config{KubeletServingCert: f.cert, KubeletServingKey: f.key}, 1},
		{control.Config{SigningCert: f.cert}, -1},
		{control.Config{KubeletServingCert: f.cert}, -1},
		{control.Config{SigningCert: f.cert, SigningKey: f.key, LegacyUnknownCert: f.cert, LegacyUnknownKey: f.key}, -1},
		{control.Config{SigningCert: f.cert, SigningKey: f.cert}, -1},
		{control.Config{SigningCert: filepath.Join(dir, "absent"), SigningKey: f.key}, -1},
	} {
		got, err := signers(&c.config)
		if err == nil != (c.want >= 0) || err == nil && len(got) != c.want {
			t.Errorf("%+v: %v, %v", c.config, got, err)
		}
	}
}
