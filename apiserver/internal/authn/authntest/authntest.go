// Package authntest makes credentials for tests: authorities, certificates,
// headers.
package authntest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"xebec.dev/apiserver/internal/request"
)

// Authority signs certificates.
type Authority struct {
	t    testing.TB
	Cert *x509.Certificate
	Key  crypto.Signer
}

// NewAuthority makes a self-signed authority.
func NewAuthority(t testing.TB, name string) *Authority {
	a := &Authority{t: t, Key: NewKey(t)}
	a.Cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.Key.Public())
	return a
}

// NewKey is an ECDSA key.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (a *Authority) sign(c *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent := a.Cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, a.Key)
	if err != nil {
		a.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// Client signs a client certificate.
func (a *Authority) Client(edit ...func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, e := range edit {
		e(c)
	}
	return a.sign(c, NewKey(a.t).Public())
}

// Pool has the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Cert)
	return p
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Cert.Raw})
}

// Named sets the subject.
func Named(name string, groups ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: name, Organization: groups} }
}

// Credentials are certificates and headers, given as "Name: value".
func Credentials(certificates []*x509.Certificate, headers ...string) *request.Credentials {
	h := http.Header{}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	return &request.Credentials{
		Certificates: certificates,
		Header:       func(name string) []string { return h.Values(name) },
		Headers: func(prefix string) []string {
			var out []string
			for name := range h {
				if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
					out = append(out, name)
				}
			}
			return out
		},
	}
}
