// Package cert authenticates by TLS client certificates.
package cert

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/reload"
	"xebec.dev/apiserver/internal/request"
)

// uidOID is the attribute of a subject that holds the user's UID.
var uidOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}

// ParsePool reads a CA bundle.
func ParsePool(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate found in the CA bundle")
	}
	return pool, nil
}

// Authenticator trusts client certificates of one CA bundle: the common name
// is the user, the organizations are its groups.
type Authenticator struct {
	roots *reload.File[*x509.CertPool]
	now   func() time.Time

	mu sync.Mutex
	// verified, guarded by mu, remembers good chains by the leaf's hash: a
	// client repeats one certificate for thousands of requests.
	verified map[[sha256.Size]byte]*verdict
}

type verdict struct {
	version  int64 // of the roots
	from, to time.Time
	id       *authn.Identity
}

// maxVerified bounds the memory; a full map is emptied.
const maxVerified = 4096

// New makes an authenticator over a CA bundle.
func New(roots *reload.File[*x509.CertPool]) *Authenticator {
	return &Authenticator{roots: roots, now: time.Now, verified: map[[sha256.Size]byte]*verdict{}}
}

// Authenticate implements authn.Authenticator.
func (a *Authenticator) Authenticate(_ context.Context, c *request.Credentials) (*authn.Identity, error) {
	if len(c.Certificates) == 0 {
		return nil, nil
	}
	leaf, now := c.Certificates[0], a.now()
	roots, version := a.roots.Get(), a.roots.Version()
	print := sha256.Sum256(leaf.Raw)
	if v := a.remembered(print, version, now); v != nil {
		return v.id, nil
	}
	chains, err := Verify(c.Certificates, roots, now)
	if err != nil {
		return nil, err
	}
	id, err := identity(leaf, print)
	if err != nil || id == nil {
		return nil, err
	}
	v := &verdict{version: version, id: id}
	v.from, v.to = validity(chains[0])
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.verified) >= maxVerified {
		clear(a.verified)
	}
	a.verified[print] = v
	return id, nil
}

func (a *Authenticator) remembered(print [sha256.Size]byte, version int64, now time.Time) *verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.verified[print]
	if v == nil || v.version != version || now.Before(v.from) || now.After(v.to) {
		return nil
	}
	return v
}

// validity is the time in which the whole chain is valid.
func validity(chain []*x509.Certificate) (from, to time.Time) {
	from, to = chain[0].NotBefore, chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(to) {
			to = c.NotAfter
		}
	}
	return from, to
}

// Verify checks a chain as sent, leaf first, for use by a client.
func Verify(sent []*x509.Certificate, roots *x509.CertPool, now time.Time) ([][]*x509.Certificate, error) {
	o := x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if len(sent) > 1 {
		o.Intermediates = x509.NewCertPool()
		for _, c := range sent[1:] {
			o.Intermediates.AddCert(c)
		}
	}
	chains, err := sent[0].Verify(o)
	if err != nil {
		return nil, fmt.Errorf("verifying certificate %s failed: %w", describe(sent[0]), err)
	}
	return chains, nil
}

func describe(c *x509.Certificate) string {
	return fmt.Sprintf("SN=%d, SKID=%s, AKID=%s", c.SerialNumber, hexadecimal(c.SubjectKeyId), hexadecimal(c.AuthorityKeyId))
}

func hexadecimal(b []byte) string {
	parts := make([]string, len(b))
	for i, x := range b {
		parts[i] = fmt.Sprintf("%02X", x)
	}
	return strings.Join(parts, ":")
}

func identity(leaf *x509.Certificate, print [sha256.Size]byte) (*authn.Identity, error) {
	if leaf.Subject.CommonName == "" {
		return nil, nil
	}
	uid, err := subjectUID(leaf)
	if err != nil {
		return nil, err
	}
	id := "X509SHA256=" + hex.EncodeToString(print[:])
	return &authn.Identity{
		User: request.User{
			Name:   leaf.Subject.CommonName,
			UID:    uid,
			Groups: leaf.Subject.Organization,
			Extra:  map[string][]string{authn.CredentialIDKey: {id}},
		},
		Method:       "x509",
		CredentialID: id,
	}, nil
}

func subjectUID(leaf *x509.Certificate) (string, error) {
	uid := ""
	for _, name := range leaf.Subject.Names {
		if !name.Type.Equal(uidOID) {
			continue
		}
		if uid != "" {
			return "", errors.New("expected 1 UID, but found multiple")
		}
		s, ok := name.Value.(string)
		if !ok || s == "" {
			return "", errors.New("unable to parse UID into a string")
		}
		uid = s
	}
	return uid, nil
}
