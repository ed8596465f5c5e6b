package authn

import (
	"context"
	"slices"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"xebec.dev/apiserver/internal/request"
)

// Union asks authenticators in order. The first identity wins, whatever
// failed before it; when there is none, one failure makes the whole fail.
type Union []Authenticator

// Authenticate implements Authenticator.
func (x Union) Authenticate(ctx context.Context, c *request.Credentials) (*Identity, error) {
	var errs []error
	for _, each := range x {
		id, err := each.Authenticate(ctx, c)
		if err != nil {
			errs = append(errs, err)
		} else if id != nil {
			return id, nil
		}
	}
	return nil, aggregate(errs)
}

// TokenUnion is Union for tokens.
type TokenUnion []TokenAuthenticator

// AuthenticateToken implements TokenAuthenticator.
func (x TokenUnion) AuthenticateToken(ctx context.Context, token string, audiences []string) (*Identity, error) {
	var errs []error
	for _, each := range x {
		id, err := each.AuthenticateToken(ctx, token, audiences)
		if err != nil {
			errs = append(errs, err)
		} else if id != nil {
			return id, nil
		}
	}
	return nil, aggregate(errs)
}

func aggregate(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return utilerrors.NewAggregate(errs)
}

// Chain is the whole of authentication: credentials, then anonymity for those
// who showed none. A bad credential never becomes anonymous.
type Chain struct {
	Credentials Authenticator
	// Anonymous is nil when everybody must show a credential.
	Anonymous func(ctx context.Context) bool
}

// Authenticate implements Authenticator.
func (x *Chain) Authenticate(ctx context.Context, c *request.Credentials) (*Identity, error) {
	id, err := x.Credentials.Authenticate(ctx, c)
	switch {
	case err != nil:
		return nil, err
	case id != nil:
		return WithAuthenticatedGroup(id), nil
	case x.Anonymous != nil && x.Anonymous(ctx):
		return &Identity{User: request.User{Name: Anonymous, Groups: []string{Unauthenticated}}, Method: "anonymous"}, nil
	}
	return nil, nil
}

// WithAuthenticatedGroup adds system:authenticated, unless the identity is
// already in it or is declared unauthenticated.
func WithAuthenticatedGroup(id *Identity) *Identity {
	g := id.User.Groups
	if slices.Contains(g, Authenticated) || slices.Contains(g, Unauthenticated) {
		return id
	}
	c := *id
	c.User.Groups = append(slices.Clip(g), Authenticated)
	return &c
}

// AnonymousAt allows anonymity at some paths only; nil means at all.
func AnonymousAt(paths []string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		if len(paths) == 0 {
			return true
		}
		r := request.From(ctx)
		return r != nil && slices.Contains(paths, r.Path)
	}
}
