package serviceaccount

import (
	"context"
	"crypto"
	"encoding/json"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
)

// Issuer signs tokens.
type Issuer struct {
	// Name is the iss claim.
	Name string
	// Keys verify what it signs.
	Keys Keys
	sign func(ctx context.Context, payload []byte) (string, error)
}

// NewExternalIssuer makes an issuer whose keys are elsewhere.
func NewExternalIssuer(name string, x *External) *Issuer {
	return &Issuer{Name: name, Keys: x.Keys, sign: x.sign}
}

// NewIssuer makes an issuer with a private key.
func NewIssuer(name string, private crypto.Signer) (*Issuer, error) {
	key, err := NewPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: key.Algorithm,
		Key:       jose.JSONWebKey{Key: private, KeyID: key.ID, Algorithm: string(key.Algorithm)},
	}, nil)
	if err != nil {
		return nil, err
	}
	return &Issuer{Name: name, Keys: Static(key), sign: func(_ context.Context, payload []byte) (string, error) {
		signed, err := signer.Sign(payload)
		if err != nil {
			return "", err
		}
		return signed.CompactSerialize()
	}}, nil
}

// Grant says what a token is for.
type Grant struct {
	Namespace      string
	ServiceAccount Ref
	Audiences      []string
	// Pod, Node and Secret are what the token is bound to; with Pod, Node is
	// only told.
	Pod, Node, Secret *Ref
	Now, Expires      time.Time
	// WarnAfter, when not zero, is when use of the token should be reported
	// as stale.
	WarnAfter time.Time
}

// Sign makes the token of a grant and its id.
func (i *Issuer) Sign(ctx context.Context, g *Grant) (token, id string, err error) {
	id = uuid.NewString()
	c := claims{
		Audience: g.Audiences, Expiry: g.Expires.Unix(), IssuedAt: g.Now.Unix(), NotBefore: g.Now.Unix(),
		Issuer: i.Name, ID: id, Subject: Username(g.Namespace, g.ServiceAccount.Name),
		Kubernetes: bound{Namespace: g.Namespace, ServiceAccount: g.ServiceAccount, Pod: g.Pod, Node: g.Node, Secret: g.Secret},
	}
	if !g.WarnAfter.IsZero() {
		c.Kubernetes.WarnAfter = g.WarnAfter.Unix()
	}
	payload, err := json.Marshal(&c)
	if err != nil {
		return "", "", err
	}
	token, err = i.sign(ctx, payload)
	return token, id, err
}
