// Package frontproxy believes a proxy that has authenticated the user itself
// and says so in headers, if the proxy shows the right client certificate.
package frontproxy

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/authn/cert"
	"xebec.dev/apiserver/internal/reload"
	"xebec.dev/apiserver/internal/request"
)

// Headers are the names of the headers that carry the user.
type Headers struct {
	Username []string
	UID      []string
	Group    []string
	// Extra are prefixes of header names.
	Extra []string
}

// Strip removes the headers, and those of the standard names, from a request
// that goes on to another server.
func (h *Headers) Strip(header http.Header) {
	names := slices.Concat(h.Username, h.UID, h.Group, []string{"X-Remote-User", "X-Remote-Uid", "X-Remote-Group"})
	prefixes := append(slices.Clone(h.Extra), "X-Remote-Extra-")
	for name := range header {
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) ||
			slices.ContainsFunc(prefixes, func(p string) bool { return hasPrefixFold(name, p) }) {
			delete(header, name)
		}
	}
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// Authenticator is the front proxy's.
type Authenticator struct {
	roots   *reload.File[*x509.CertPool]
	allowed []string
	headers Headers
	now     func() time.Time
}

// New makes an authenticator; allowed are the common names that the proxy's
// certificate may have, none meaning any.
func New(roots *reload.File[*x509.CertPool], allowed []string, headers Headers) *Authenticator {
	return &Authenticator{roots: roots, allowed: allowed, headers: headers, now: time.Now}
}

// Authenticate implements authn.Authenticator.
func (a *Authenticator) Authenticate(_ context.Context, c *request.Credentials) (*authn.Identity, error) {
	if len(c.Certificates) == 0 {
		return nil, nil
	}
	// A client that sends none of the headers need not be checked at all.
	name := firstValue(c, a.headers.Username)
	if name == "" {
		return nil, nil
	}
	if _, err := cert.Verify(c.Certificates, a.roots.Get(), a.now()); err != nil {
		return nil, err
	}
	if cn := c.Certificates[0].Subject.CommonName; len(a.allowed) > 0 && !slices.Contains(a.allowed, cn) {
		return nil, fmt.Errorf("x509: subject with cn=%s is not in the allowed list", cn)
	}
	return &authn.Identity{
		User: request.User{
			Name:   name,
			UID:    firstValue(c, a.headers.UID),
			Groups: allValues(c, a.headers.Group),
			Extra:  a.extra(c),
		},
		Method: "requestheader",
	}, nil
}

func firstValue(c *request.Credentials, names []string) string {
	for _, n := range names {
		if values := c.Header(n); len(values) > 0 && values[0] != "" {
			return values[0]
		}
	}
	return ""
}

func allValues(c *request.Credentials, names []string) []string {
	var out []string
	for _, n := range names {
		for _, v := range c.Header(n) {
			if v != "" {
				out = append(out, v)
			}
		}
	}
	return out
}

func (a *Authenticator) extra(c *request.Credentials) map[string][]string {
	out := map[string][]string{}
	for _, prefix := range a.headers.Extra {
		for _, name := range c.Headers(prefix) {
			if !hasPrefixFold(name, prefix) {
				continue
			}
			k := ExtraKey(name[len(prefix):])
			out[k] = append(out[k], c.Header(name)...)
		}
	}
	return out
}

// ExtraKey is the key that the rest of a header name stands for: in lower
// case, percent-decoded when it can be.
func ExtraKey(rest string) string {
	key := strings.ToLower(rest)
	if decoded, err := url.PathUnescape(key); err == nil {
		return decoded
	}
	return key
}
