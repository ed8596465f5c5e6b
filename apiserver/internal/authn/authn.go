// Package authn finds out who asks: client certificates, tokens of several
// kinds, front-proxy headers, impersonation.
package authn

import (
	"context"

	"xebec.dev/apiserver/internal/request"
)

// Identity is the outcome of authentication.
type Identity struct {
	User request.User
	// Method names the authenticator; CredentialID the credential, for audit.
	Method       string
	CredentialID string
	// Audiences are those of the asked audiences that a token is meant for;
	// nil when the authenticator knows of no audiences, which means the API
	// server's own.
	Audiences []string
	// Annotations and Warnings are what each use of the credential leaves in
	// the audit log and tells the client.
	Annotations map[string]string
	Warnings    []string
}

// Authenticator recognises one kind of credential. It returns nil, nil when
// the request carries none of its kind, an error when it carries a bad one.
type Authenticator interface {
	Authenticate(ctx context.Context, c *request.Credentials) (*Identity, error)
}

// TokenAuthenticator recognises one kind of bearer token, for one of some
// audiences: nil is whatever the API server itself accepts. It returns nil,
// nil when the token is not of its kind, an error when it is but is bad.
type TokenAuthenticator interface {
	AuthenticateToken(ctx context.Context, token string, audiences []string) (*Identity, error)
}

// Groups and users with a meaning of their own.
const (
	Anonymous       = "system:anonymous"
	Authenticated   = "system:authenticated"
	Unauthenticated = "system:unauthenticated"

	// CredentialIDKey is the extra key with the id of the credential.
	CredentialIDKey = "authentication.kubernetes.io/credential-id"
)
