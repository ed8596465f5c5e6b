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
}

// Authenticator recognises one kind of credential. It returns nil, nil when
// the request carries none of its kind, an error when it carries a bad one.
type Authenticator interface {
	Authenticate(ctx context.Context, c *request.Credentials) (*Identity, error)
}
