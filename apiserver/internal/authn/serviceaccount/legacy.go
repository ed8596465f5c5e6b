package serviceaccount

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/request"
)

const (
	legacyIssuer = "kubernetes/serviceaccount"
	// invalidSince marks Secrets whose token was not used for a year.
	invalidSince = "kubernetes.io/legacy-token-invalid-since"
)

// LegacyVerifier accepts the tokens that are kept in Secrets and do not
// expire: as long as the Secret holds exactly that token.
type LegacyVerifier struct {
	keys   func() []PublicKey
	own    []string
	lookup bool
	objects
	now func() time.Time
	// Used is told of each use, so that the Secret's last-used label can be
	// kept.
	Used func(namespace, secret string)
}

// NewLegacyVerifier makes a verifier.
func NewLegacyVerifier(keys func() []PublicKey, own []string, lookup bool, d Deps) *LegacyVerifier {
	return &LegacyVerifier{keys: keys, own: own, lookup: lookup, objects: newObjects(d.Reader, d.Fresh, d.Scheme), now: d.now()}
}

// AuthenticateToken implements authn.TokenAuthenticator.
func (v *LegacyVerifier) AuthenticateToken(ctx context.Context, token string, audiences []string) (*authn.Identity, error) {
	if issuerOf(token) != legacyIssuer {
		return nil, nil
	}
	var c receivedLegacy
	if err := open(token, v.keys(), &c); err != nil {
		return nil, err
	}
	// Without an audience of its own it is meant for the API server.
	match := v.own
	if len(audiences) > 0 {
		if match = intersect(v.own, audiences); len(match) == 0 {
			return nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", v.own, audiences)
		}
	}
	if err := v.validate(ctx, token, &c); err != nil {
		return nil, err
	}
	return &authn.Identity{
		User:   request.User{Name: Username(c.Namespace, c.Name), UID: c.UID, Groups: Groups(c.Namespace)},
		Method: methodName, Audiences: match,
	}, nil
}

func (v *LegacyVerifier) validate(ctx context.Context, token string, c *receivedLegacy) error {
	switch {
	case c.Subject == "":
		return errors.New("sub claim is missing")
	case c.Namespace == "":
		return errors.New("namespace claim is missing")
	case c.SecretName == "":
		return errors.New("secretName claim is missing")
	case c.Name == "":
		return errors.New("serviceAccountName claim is missing")
	case c.UID == "":
		return errors.New("serviceAccountUID claim is missing")
	case c.Subject != Username(c.Namespace, c.Name):
		return errors.New("sub claim is invalid")
	}
	now := v.now()
	if err := c.current(now); err != nil {
		return err
	}
	if !v.lookup {
		return nil
	}
	obj, err := v.get(ctx, v.secrets, c.Namespace, c.SecretName)
	if err != nil {
		return errInvalidated
	}
	secret := obj.(*corev1.Secret)
	if secret.DeletionTimestamp != nil || subtle.ConstantTimeCompare(secret.Data[corev1.ServiceAccountTokenKey], []byte(token)) != 1 {
		return errInvalidated
	}
	if _, err := v.account(ctx, c.Namespace, Ref{Name: c.Name, UID: c.UID}, now); err != nil {
		return err
	}
	if secret.Labels[invalidSince] != "" {
		return errInvalidated
	}
	if v.Used != nil {
		v.Used(c.Namespace, c.SecretName)
	}
	return nil
}
