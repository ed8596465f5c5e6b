package serviceaccount

import (
	"encoding/json"
	"errors"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Ref names the object that a token is bound to.
type Ref struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// claims are a token's. The order of the fields is the order on the wire.
type claims struct {
	Audience   []string `json:"aud"`
	Expiry     int64    `json:"exp"`
	IssuedAt   int64    `json:"iat"`
	Issuer     string   `json:"iss"`
	ID         string   `json:"jti"`
	Kubernetes bound    `json:"kubernetes.io"`
	NotBefore  int64    `json:"nbf"`
	Subject    string   `json:"sub"`
}

type bound struct {
	Namespace      string `json:"namespace,omitempty"`
	Node           *Ref   `json:"node,omitempty"`
	Pod            *Ref   `json:"pod,omitempty"`
	Secret         *Ref   `json:"secret,omitempty"`
	ServiceAccount Ref    `json:"serviceaccount,omitzero"`
	WarnAfter      int64  `json:"warnafter,omitempty"`
}

// registered are the claims whose JSON has several forms: aud may be one
// string, times may have fractions.
type registered struct {
	Audience  jwt.Audience     `json:"aud"`
	Expiry    *jwt.NumericDate `json:"exp"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
	Issuer    string           `json:"iss"`
	ID        string           `json:"jti"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	Subject   string           `json:"sub"`
}

// received is what a token of today says.
type received struct {
	registered
	Kubernetes struct {
		Namespace      string           `json:"namespace"`
		Node           *Ref             `json:"node"`
		Pod            *Ref             `json:"pod"`
		Secret         *Ref             `json:"secret"`
		ServiceAccount Ref              `json:"serviceaccount"`
		WarnAfter      *jwt.NumericDate `json:"warnafter"`
	} `json:"kubernetes.io"`
}

// receivedLegacy is what a token kept in a Secret says.
type receivedLegacy struct {
	registered
	Namespace  string `json:"kubernetes.io/serviceaccount/namespace"`
	Name       string `json:"kubernetes.io/serviceaccount/service-account.name"`
	UID        string `json:"kubernetes.io/serviceaccount/service-account.uid"`
	SecretName string `json:"kubernetes.io/serviceaccount/secret.name"`
}

// leeway is how far clocks may be apart.
const leeway = time.Minute

// current checks the times of a token.
func (r *registered) current(now time.Time) error {
	if r.NotBefore != nil && now.Add(leeway).Before(r.NotBefore.Time()) {
		return errors.New("service account token is not valid yet")
	}
	if r.Expiry != nil && now.Add(-leeway).After(r.Expiry.Time()) {
		return errors.New("service account token has expired")
	}
	if r.IssuedAt != nil && now.Add(leeway).Before(r.IssuedAt.Time()) {
		return errors.New("service account token is issued in the future")
	}
	return nil
}

// credentialID names a token without telling it.
func (r *registered) credentialID() string {
	if r.ID == "" {
		return ""
	}
	return "JTI=" + r.ID
}

// open verifies a token with one of the keys and reads its claims.
func open(token string, keys Keys, into any) error {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return err
	}
	header := signed.Signatures[0].Header
	var errs []error
	for _, k := range candidates(keys(header.KeyID), header.KeyID) {
		if header.Algorithm != string(k.Algorithm) {
			errs = append(errs, jose.ErrCryptoFailure)
			continue
		}
		payload, err := signed.Verify(k.Key)
		if err == nil {
			return json.Unmarshal(payload, into)
		}
		errs = append(errs, err)
	}
	return aggregate(errs)
}

// candidates are the keys to try: the one the token names if it is known. The
// name is only compared; it cannot lead anywhere else.
func candidates(keys []PublicKey, id string) []PublicKey {
	for i := range keys {
		if id != "" && keys[i].ID == id {
			return keys[i : i+1]
		}
	}
	return keys
}
