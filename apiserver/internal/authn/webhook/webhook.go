// Package webhook asks an outside service whose a bearer token is.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/authn/token"
	"xebec.dev/apiserver/internal/kubeconfig"
	"xebec.dev/apiserver/internal/request"
)

// timeout is how long the webhook may take for all tries of one token.
const timeout = 30 * time.Second

// Authenticator is one webhook.
type Authenticator struct {
	remote  *kubeconfig.Remote
	version string
	own     []string
	retry   kubeconfig.Retry
}

// New makes an authenticator that sends reviews of version v1 or v1beta1. Put
// a token.Cache before it.
func New(remote *kubeconfig.Remote, version string, own []string) *Authenticator {
	return &Authenticator{remote: remote, version: version, own: own, retry: kubeconfig.DefaultRetry}
}

// AuthenticateToken implements authn.TokenAuthenticator.
func (a *Authenticator) AuthenticateToken(ctx context.Context, bearer string, audiences []string) (*authn.Identity, error) {
	wanted := audiences
	if len(wanted) == 0 {
		wanted = a.own
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// v1 and v1beta1 differ in nothing but the name.
	question := &authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/" + a.version, Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: bearer, Audiences: wanted},
	}
	var answer authenticationv1.TokenReview
	if err := a.remote.Post(ctx, a.retry, question, &answer); err != nil {
		return nil, fmt.Errorf("token webhook: %w", err)
	}
	s := &answer.Status
	if !s.Authenticated {
		if s.Error != "" {
			return nil, errors.New(s.Error)
		}
		return nil, nil
	}
	var match []string
	if len(wanted) > 0 {
		given := s.Audiences
		if len(given) == 0 {
			// A webhook that knows of no audiences vouches for the API only.
			given = a.own
		}
		if match = token.Intersect(wanted, given); len(match) == 0 {
			return nil, nil
		}
	}
	return &authn.Identity{User: user(&s.User), Method: "webhook", Audiences: match}, nil
}

func user(i *authenticationv1.UserInfo) request.User {
	u := request.User{Name: i.Username, UID: i.UID, Groups: i.Groups}
	for k, v := range i.Extra {
		if u.Extra == nil {
			u.Extra = make(map[string][]string, len(i.Extra))
		}
		u.Extra[k] = v
	}
	return u
}
