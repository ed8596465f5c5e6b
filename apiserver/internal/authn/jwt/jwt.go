package jwt

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/egress"
	"xebec.dev/apiserver/internal/expression"
	"xebec.dev/apiserver/internal/request"
)

// asymmetric are the algorithms that a token may be signed with unless flags
// say otherwise. There is none with a shared secret.
var asymmetric = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"}

// maxToken bounds what is parsed at all.
const maxToken = 64 << 10

// notBeforeLeeway is how far the issuer's clock may be ahead.
const notBeforeLeeway = 5 * time.Minute

// Authenticator accepts the tokens of one issuer.
type Authenticator struct {
	j          Issuance
	c          *compiled
	keys       *keySet
	algorithms []jose.SignatureAlgorithm
	now        func() time.Time
	metrics    *Metrics
}

// Options of an authenticator; the zero value works.
type Options struct {
	Now     func() time.Time
	Metrics *Metrics
	// Dial connects to the issuer; nil is directly.
	Dial egress.Dial
}

// New makes an authenticator; p is where the issuance stands in its file.
func New(j Issuance, p *field.Path, o Options) (*Authenticator, error) {
	now := o.Now
	if now == nil {
		now = time.Now
	}
	c, err := j.compile(p)
	if err != nil {
		return nil, err
	}
	keys, err := newKeySet(&j.Issuer, now, o.Dial)
	if err != nil {
		return nil, err
	}
	algs := j.SigningAlgs
	if len(algs) == 0 {
		algs = asymmetric
	}
	keys.fetched = o.Metrics.fetched(j.Issuer.URL)
	a := &Authenticator{j: j, c: c, keys: keys, now: now, metrics: o.Metrics}
	for _, alg := range algs {
		if !slices.Contains(asymmetric, alg) {
			return nil, fmt.Errorf("oidc: unsupported signing alg: %q", alg)
		}
		a.algorithms = append(a.algorithms, jose.SignatureAlgorithm(alg))
	}
	return a, nil
}

// AuthenticateToken implements authn.TokenAuthenticator. It knows of no
// audiences but the issuer's own, which are not the API's: wrap it.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string, _ []string) (*authn.Identity, error) {
	if !a.issued(token) {
		return nil, nil
	}
	start := time.Now()
	id, err := a.authenticate(ctx, token)
	a.metrics.took(a.j.Issuer.URL, time.Since(start), err)
	return id, err
}

func (a *Authenticator) authenticate(ctx context.Context, token string) (*authn.Identity, error) {
	claims, err := a.verify(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("oidc: verify token: %w", err)
	}
	if err := a.checkClaims(ctx, claims); err != nil {
		return nil, err
	}
	u, err := a.user(ctx, claims)
	if err != nil {
		return nil, err
	}
	if err := a.checkUser(ctx, u); err != nil {
		return nil, err
	}
	id := &authn.Identity{User: *u, Method: "jwt"}
	if jti, ok := claims["jti"].(string); ok && jti != "" {
		id.CredentialID = "JTI=" + jti
		if u.Extra == nil {
			id.User.Extra = map[string][]string{}
		}
		id.User.Extra[authn.CredentialIDKey] = []string{id.CredentialID}
	}
	return id, nil
}

// issued looks at the issuer that a token claims, without trusting it.
func (a *Authenticator) issued(token string) bool {
	if len(token) > maxToken {
		return false
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	return json.Unmarshal(payload, &c) == nil && c.Issuer == a.j.Issuer.URL
}

func (a *Authenticator) verify(ctx context.Context, token string) (map[string]any, error) {
	signed, err := jose.ParseSignedCompact(token, a.algorithms)
	if err != nil {
		return nil, err
	}
	header := signed.Signatures[0].Header
	keys, err := a.keys.find(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.Algorithm != "" && k.Algorithm != header.Algorithm {
			continue
		}
		payload, err := signed.Verify(k.Key)
		if err != nil {
			continue
		}
		claims := map[string]any{}
		if err := json.Unmarshal(payload, &claims); err != nil {
			return nil, err
		}
		return claims, a.registered(claims)
	}
	return nil, errors.New("failed to verify id token signature")
}

// registered checks the claims that every token must have.
func (a *Authenticator) registered(claims map[string]any) error {
	if claims["iss"] != a.j.Issuer.URL {
		return fmt.Errorf("id token issued by a different provider, expected %q got %q", a.j.Issuer.URL, claims["iss"])
	}
	given := texts(claims["aud"])
	if !slices.ContainsFunc(given, func(x string) bool { return slices.Contains(a.j.Issuer.Audiences, x) }) {
		return fmt.Errorf("expected audience in %q got %q", a.j.Issuer.Audiences, given)
	}
	now := a.now()
	expiry, ok := seconds(claims["exp"])
	if !ok || now.After(expiry) {
		return fmt.Errorf("token is expired (Token Expiry: %v)", expiry)
	}
	if notBefore, ok := seconds(claims["nbf"]); ok && now.Add(notBeforeLeeway).Before(notBefore) {
		return fmt.Errorf("current time %v before the nbf (not before) time: %v", now, notBefore)
	}
	return nil
}

// texts is a string or a list of strings; nil for anything else.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		out := make([]string, 0, len(v))
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return nil
			}
			out = append(out, s)
		}
		return out
	}
	return nil
}

func seconds(v any) (time.Time, bool) {
	switch v := v.(type) {
	case int64:
		return time.Unix(v, 0), true
	case float64:
		return time.Unix(int64(v), 0), true
	}
	return time.Time{}, false
}

func (a *Authenticator) checkClaims(ctx context.Context, claims map[string]any) error {
	for i := range a.j.ClaimValidationRules {
		r := &a.j.ClaimValidationRules[i]
		if r.Claim != "" {
			v, ok := claims[r.Claim]
			if !ok {
				return fmt.Errorf("oidc: required claim %s not present in ID token", r.Claim)
			}
			s, ok := v.(string)
			if !ok {
				return fmt.Errorf("oidc: parse claim %s: not a string", r.Claim)
			}
			if s != r.RequiredValue {
				return fmt.Errorf("oidc: required claim %s value does not match. Got = %s, want = %s", r.Claim, s, r.RequiredValue)
			}
			continue
		}
		if err := check(ctx, a.c.claimRules[i], map[string]any{"claims": claims}, r.Message); err != nil {
			return fmt.Errorf("oidc: error evaluating claim validation expression: %w", err)
		}
	}
	return nil
}

func check(ctx context.Context, p *expression.Program, values map[string]any, message string) error {
	ok, err := p.EvalBool(ctx, values)
	switch {
	case err != nil:
		return fmt.Errorf("expression '%s' resulted in error: %w", p.Source, err)
	case ok:
		return nil
	case message != "":
		return fmt.Errorf("validation expression '%s' failed: %s", p.Source, message)
	}
	return fmt.Errorf("validation expression '%s' failed", p.Source)
}

func (a *Authenticator) checkUser(ctx context.Context, u *request.User) error {
	if len(a.c.userRules) == 0 {
		return nil
	}
	extra := map[string]any{}
	for k, v := range u.Extra {
		extra[k] = v
	}
	groups := u.Groups
	if groups == nil {
		groups = []string{}
	}
	values := map[string]any{"user": map[string]any{"username": u.Name, "uid": u.UID, "groups": groups, "extra": extra}}
	for i, p := range a.c.userRules {
		if err := check(ctx, p, values, a.j.UserValidationRules[i].Message); err != nil {
			return fmt.Errorf("oidc: error evaluating user info validation rule: %w", err)
		}
	}
	return nil
}

func (a *Authenticator) user(ctx context.Context, claims map[string]any) (*request.User, error) {
	values := map[string]any{"claims": claims}
	u := &request.User{}
	var err error
	if u.Name, err = a.username(ctx, claims, values); err != nil {
		return nil, err
	}
	if u.Groups, err = a.groups(ctx, claims, values); err != nil {
		return nil, err
	}
	m := &a.j.ClaimMappings
	switch {
	case a.c.uid != nil:
		if u.UID, err = text(a.c.uid.Eval(ctx, values)); err != nil {
			return nil, fmt.Errorf("oidc: error evaluating uid claim expression: %w", err)
		}
	case m.UID.Claim != "":
		v, ok := claims[m.UID.Claim].(string)
		if !ok {
			return nil, fmt.Errorf("oidc: parse uid claim %q: not present or not a string", m.UID.Claim)
		}
		u.UID = v
	}
	for i, p := range a.c.extra {
		v, err := list(p.Eval(ctx, values))
		if err != nil {
			return nil, fmt.Errorf("oidc: error evaluating extra claim expression: %w", err)
		}
		if v = slices.DeleteFunc(v, func(s string) bool { return s == "" }); len(v) == 0 {
			continue
		}
		if u.Extra == nil {
			u.Extra = map[string][]string{}
		}
		u.Extra[m.Extra[i].Key] = v
	}
	return u, nil
}

func (a *Authenticator) username(ctx context.Context, claims, values map[string]any) (string, error) {
	if a.c.username != nil {
		name, err := text(a.c.username.Eval(ctx, values))
		if err != nil {
			return "", fmt.Errorf("oidc: error evaluating username claim expression: %w", err)
		}
		if name == "" {
			return "", errors.New("oidc: empty username via CEL expression is not allowed")
		}
		return name, nil
	}
	m := &a.j.ClaimMappings.Username
	name, ok := claims[m.Claim].(string)
	if !ok {
		return "", fmt.Errorf("oidc: parse username claims %q: claim not present", m.Claim)
	}
	if m.Claim == "email" {
		// Where the issuer says whether it has seen to the address, it must have.
		if v, ok := claims["email_verified"]; ok {
			verified, ok := v.(bool)
			if !ok {
				return "", errors.New("oidc: parse 'email_verified' claim: not a bool")
			}
			if !verified {
				return "", fmt.Errorf("oidc: email not verified")
			}
		}
	}
	if m.Prefix != nil {
		name = *m.Prefix + name
	}
	return name, nil
}

func (a *Authenticator) groups(ctx context.Context, claims, values map[string]any) ([]string, error) {
	if a.c.groups != nil {
		groups, err := list(a.c.groups.Eval(ctx, values))
		if err != nil {
			return nil, fmt.Errorf("oidc: error evaluating group claim expression: %w", err)
		}
		return slices.DeleteFunc(groups, func(s string) bool { return s == "" }), nil
	}
	m := &a.j.ClaimMappings.Groups
	v, ok := claims[m.Claim]
	if m.Claim == "" || !ok {
		return nil, nil
	}
	groups := texts(v)
	if groups == nil {
		return nil, fmt.Errorf("oidc: parse groups claim %q: not a string or a list of strings", m.Claim)
	}
	if m.Prefix != nil && *m.Prefix != "" {
		for i := range groups {
			groups[i] = *m.Prefix + groups[i]
		}
	}
	return groups, nil
}

func text(v ref.Val, err error) (string, error) {
	if err != nil {
		return "", err
	}
	s, ok := v.Value().(string)
	if !ok {
		return "", fmt.Errorf("expression must return a string, got %s", v.Type().TypeName())
	}
	return s, nil
}

// list is a string or strings; null and "" are none.
func list(v ref.Val, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	out, ok := flatten(v)
	if !ok {
		return nil, fmt.Errorf("expression must return a string or a list of strings, got %s", v.Type().TypeName())
	}
	return out, nil
}

func flatten(v ref.Val) ([]string, bool) {
	switch v := v.(type) {
	case types.String:
		if v == "" {
			return nil, true
		}
		return []string{string(v)}, true
	case types.Null:
		return nil, true
	case traits.Lister:
		var out []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			s, ok := it.Next().Value().(string)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}
