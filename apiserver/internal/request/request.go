// Package request is what the two front doors, REST and gRPC, turn a call
// into before the pipeline sees it.
package request

import (
	"context"
	"crypto/x509"
	"net"
	"time"

	"xebec.dev/api/scheme"
)

// User is an authenticated identity.
type User = scheme.UserInfo

// Info says what is asked for, in the words of authorization.
type Info struct {
	// IsResource is false for /healthz, /version, /openapi and the like, for
	// which only Path and Verb (the HTTP method in lower case) are set.
	IsResource bool
	Path       string
	// Verb: get list watch create update patch delete deletecollection proxy…
	Verb        string
	Prefix      string // "api" or "apis"
	Group       string
	Version     string
	Namespace   string
	Resource    string
	Subresource string
	Name        string
	// Parts are the path segments after the subresource (proxy paths).
	Parts []string
	// FieldSelector and LabelSelector as given, for list, watch and deletecollection.
	FieldSelector string
	LabelSelector string
}

// CombinedResource is the resource with its subresource, as rules name it.
func (i *Info) CombinedResource() string {
	if i.Subresource == "" {
		return i.Resource
	}
	return i.Resource + "/" + i.Subresource
}

// Credentials are what authentication may look at, whichever door was used.
type Credentials struct {
	// Certificates of the TLS peer as sent, leaf first; not yet verified.
	Certificates []*x509.Certificate
	// Header gives a header's values ("Authorization", "X-Remote-User",
	// "Impersonate-User"…) or gRPC metadata of that name.
	Header func(name string) []string
	// Headers lists header names that begin with a prefix, canonical form.
	Headers func(prefix string) []string
	Remote  net.Addr
	// URI of the request as it came, for audit.
	URI string
}

// Request is one call on its way through the pipeline.
type Request struct {
	Info
	User User
	// AuthMethod names the authenticator and the credential's id for audit.
	AuthMethod   string
	CredentialID string
	// Impersonator is who really asks when User is impersonated.
	Impersonator *User
	// ImpersonationConstraint is the verb of the constrained mode by which it
	// may, empty for the plain right.
	ImpersonationConstraint string
	// AuditID is the request id, echoed as Audit-Id.
	AuditID   string
	UserAgent string
	Received  time.Time
	// For metrics. Apply: the patch is an apply patch. BodyBytes and
	// AnswerBytes are what came and what went, watches and streams aside.
	DryRun, Apply          bool
	BodyBytes, AnswerBytes int

	notes notes
}

type key struct{}

// With returns a context that carries r.
func With(ctx context.Context, r *Request) context.Context { return context.WithValue(ctx, key{}, r) }

// From is the request a context carries; nil if none.
func From(ctx context.Context) *Request {
	r, _ := ctx.Value(key{}).(*Request)
	return r
}
