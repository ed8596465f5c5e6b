package server

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/request"
)

type certAuth struct{ pool *x509.CertPool }

func (c *certAuth) Authenticate(_ context.Context, r *request.Credentials) (*authn.Identity, error) {
	if len(r.Certificates) == 0 {
		return nil, nil
	}
	inter := x509.NewCertPool()
	for _, x := range r.Certificates[1:] {
		inter.AddCert(x)
	}
	leaf := r.Certificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: c.pool, Intermediates: inter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, err
	}
	return &authn.Identity{User: request.User{Name: leaf.Subject.CommonName, Groups: append(append([]string{}, leaf.Subject.Organization...), "system:authenticated")}}, nil
}

func newCertAuth(path string) (*certAuth, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: no certificate", path)
	}
	return &certAuth{p}, nil
}
