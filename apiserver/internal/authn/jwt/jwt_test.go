package jwt

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"xebec.dev/apiserver/internal/request"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// provider is an OpenID Connect issuer.
type provider struct {
	*httptest.Server
	fetches atomic.Int32
	issuer  string // what discovery says, the URL when empty
	keys    atomic.Value
}

func newProvider(t testing.TB) *provider {
	p := &provider{}
	p.serve("k1", rsaKey())
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			issuer := p.issuer
			if issuer == "" {
				issuer = p.URL
			}
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer, p.URL+"/keys")
		case "/keys":
			p.fetches.Add(1)
			_ = json.NewEncoder(w).Encode(p.keys.Load())
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) serve(id string, key crypto.Signer) {
	p.keys.Store(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: id, Algorithm: "RS256", Use: "sig"}}})
}

func (p *provider) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
}

func sign(t testing.TB, algorithm jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", id))
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := json.Marshal(claims)
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, _ := signed.CompactSerialize()
	return token
}

func (p *provider) claims(more map[string]any) map[string]any {
	c := map[string]any{"iss": p.URL, "aud": "client", "sub": "jane", "exp": time.Now().Add(time.Hour).Unix()}
	for k, v := range more {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

// authenticator reads the issuance as YAML; ISSUER and CA are filled in.
func (p *provider) authenticator(t testing.TB, text string) *Authenticator {
	t.Helper()
	var j Issuance
	if err := yaml.UnmarshalStrict([]byte(text), &j); err != nil {
		t.Fatal(err)
	}
	j.Issuer.URL, j.Issuer.CertificateAuthority = p.URL, p.ca()
	if len(j.Issuer.Audiences) == 0 {
		j.Issuer.Audiences = []string{"client"}
	}
	if err := j.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := New(j, field.NewPath("jwt").Index(0), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const plain = `{claimMappings: {username: {claim: sub, prefix: "x:"}}}`

func TestMappings(t *testing.T) {
	p := newProvider(t)
	for name, c := range map[string]struct {
		config string
		claims map[string]any
		user   *request.User
		err    string
	}{
		"username":    {plain, nil, &request.User{Name: "x:jane"}, ""},
		"no username": {plain, map[string]any{"sub": nil}, nil, "claim not present"},
		"groups": {`{claimMappings: {username: {claim: sub, prefix: ""}, groups: {claim: roles, prefix: "g:"}, uid: {claim: id}}}`,
			map[string]any{"roles": []string{"a", "b"}, "id": "7"}, &request.User{Name: "jane", UID: "7", Groups: []string{"g:a", "g:b"}}, ""},
		"one group":          {`{claimMappings: {username: {claim: sub, prefix: ""}, groups: {claim: roles, prefix: ""}}}`, map[string]any{"roles": "a"}, &request.User{Name: "jane", Groups: []string{"a"}}, ""},
		"groups as number":   {`{claimMappings: {username: {claim: sub, prefix: ""}, groups: {claim: roles, prefix: ""}}}`, map[string]any{"roles": 7}, nil, "parse groups claim"},
		"email":              {`{claimMappings: {username: {claim: email, prefix: ""}}}`, map[string]any{"email": "j@x", "email_verified": true}, &request.User{Name: "j@x"}, ""},
		"email not verified": {`{claimMappings: {username: {claim: email, prefix: ""}}}`, map[string]any{"email": "j@x", "email_verified": false}, nil, "oidc: email not verified"},
		"expressions": {`
claimMappings:
  username: {expression: "claims.sub + '@' + claims.org.name"}
  groups: {expression: "claims.roles.split(',')"}
  uid: {expression: "string(claims.id)"}
  extra:
  - {key: example.com/tenant, valueExpression: "claims.org.name"}
  - {key: example.com/empty, valueExpression: "claims.?none.orValue('')"}
userValidationRules:
- {expression: "!user.username.startsWith('system:')", message: reserved}
- {expression: "user.groups.all(g, g != 'root') && user.extra['example.com/tenant'] == ['acme']"}
`, map[string]any{"org": map[string]any{"name": "acme"}, "roles": "a,b", "id": 7},
			&request.User{Name: "jane@acme", UID: "7", Groups: []string{"a", "b"}, Extra: map[string][]string{"example.com/tenant": {"acme"}}}, ""},
		"an empty username":         {`{claimMappings: {username: {expression: "claims.none"}}}`, map[string]any{"none": ""}, nil, "empty username via CEL expression is not allowed"},
		"a claim that is not there": {`{claimMappings: {username: {expression: "claims.none"}}}`, nil, nil, "no such key: none"},
		"a user rule": {`{claimMappings: {username: {claim: sub, prefix: "system:"}}, userValidationRules: [{expression: "!user.username.startsWith('system:')", message: reserved}]}`, nil, nil,
			"validation expression '!user.username.startsWith('system:')' failed: reserved"},
		"a claim rule":         {`{claimMappings: {username: {claim: sub, prefix: ""}}, claimValidationRules: [{claim: hd, requiredValue: x}]}`, map[string]any{"hd": "y"}, nil, "required claim hd value does not match. Got = y, want = x"},
		"a claim rule, holds":  {`{claimMappings: {username: {claim: sub, prefix: ""}}, claimValidationRules: [{claim: hd, requiredValue: x}]}`, map[string]any{"hd": "x"}, &request.User{Name: "jane"}, ""},
		"a claim rule, absent": {`{claimMappings: {username: {claim: sub, prefix: ""}}, claimValidationRules: [{claim: hd, requiredValue: x}]}`, nil, nil, "required claim hd not present in ID token"},
		"a claim expression":   {`{claimMappings: {username: {claim: sub, prefix: ""}}, claimValidationRules: [{expression: "claims.exp - claims.nbf <= 86400", message: too long}]}`, map[string]any{"nbf": 1000000000}, nil, "too long"},
		"two audiences":        {`{issuer: {url: x, audiences: [other, client], audienceMatchPolicy: MatchAny}, claimMappings: {username: {claim: sub, prefix: ""}}}`, nil, &request.User{Name: "jane"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := p.authenticator(t, c.config).AuthenticateToken(context.Background(), sign(t, jose.RS256, rsaKey(), "k1", p.claims(c.claims)), nil)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("%v, want %q", err, c.err)
			}
			if c.user != nil && (id == nil || !reflect.DeepEqual(id.User, *c.user)) {
				t.Errorf("%+v, want %+v", id, c.user)
			}
		})
	}
}

func TestForged(t *testing.T) {
	p := newProvider(t)
	a := p.authenticator(t, plain)
	good := sign(t, jose.RS256, rsaKey(), "k1", p.claims(nil))
	if id, err := a.AuthenticateToken(context.Background(), good, nil); id == nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	with := func(k string, v any) string {
		return sign(t, jose.RS256, rsaKey(), "k1", p.claims(map[string]any{k: v}))
	}
	for name, token := range map[string]string{
		"alg none":         base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"k1"}`)) + "." + parts[1] + ".",
		"HS256":            sign(t, jose.HS256, []byte(p.ca()), "k1", p.claims(nil)),
		"another key":      sign(t, jose.RS256, other, "k1", p.claims(nil)),
		"another key id":   sign(t, jose.RS256, other, "../k1", p.claims(nil)),
		"another alg":      sign(t, jose.RS512, rsaKey(), "k1", p.claims(nil)),
		"another audience": with("aud", "x"),
		"no audience":      with("aud", nil),
		"odd audience":     with("aud", []any{"client", 7}),
		"another issuer":   with("iss", "https://evil"),
		"odd issuer":       with("iss", []string{p.URL}),
		"expired":          with("exp", time.Now().Add(-time.Minute).Unix()),
		"no expiry":        with("exp", nil),
		"odd expiry":       with("exp", "never"),
		"not yet":          with("nbf", time.Now().Add(time.Hour).Unix()),
		"text":             "a.b.c",
	} {
		if id, err := a.AuthenticateToken(context.Background(), token, nil); id != nil {
			t.Errorf("%s is accepted: %+v %v", name, id, err)
		}
	}
}

// Keys are fetched when needed, not each time somebody names another key.
func TestKeysAreFetchedSparingly(t *testing.T) {
	p := newProvider(t)
	a := p.authenticator(t, plain)
	now := time.Now()
	a.keys.now = func() time.Time { return now }
	try := func(key crypto.Signer, id string) bool {
		got, _ := a.AuthenticateToken(context.Background(), sign(t, jose.RS256, key, id, p.claims(nil)), nil)
		return got != nil
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if !try(rsaKey(), "k1") {
				t.Error("refused")
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		try(rsaKey(), fmt.Sprint("unknown", i))
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	next, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.serve("k2", next)
	now = now.Add(refetch + time.Second)
	if !try(next, "k2") || try(rsaKey(), "k1") {
		t.Error("the keys were not rotated")
	}
	p.issuer = "https://other"
	now = now.Add(refetch + time.Second)
	if try(rsaKey(), "k3") || !try(next, "k2") {
		t.Error("a discovery document of another issuer was believed, or the keys were lost")
	}
}

func TestParse(t *testing.T) {
	head := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
	issuer := "issuer: {url: https://a, audiences: [c]}"
	for body, want := range map[string]string{
		"": "",
		"anonymous: {enabled: true, conditions: [{path: /livez}]}":                                                                                   "",
		"anonymous: {enabled: false, conditions: [{path: /livez}]}":                                                                                  "enabled should be set to true",
		"jwt: [{" + issuer + ", claimMappings: {username: {claim: sub, prefix: ''}}}]":                                                               "",
		"jwt: [{" + issuer + ", claimMappings: {username: {claim: sub}}}]":                                                                           "prefix is required when claim is set",
		"jwt: [{" + issuer + ", claimMappings: {}}]":                                                                                                 "claimMappings.username: Required value",
		"jwt: [{" + issuer + ", claimMappings: {username: {claim: sub, expression: x}}}]":                                                            "claim and expression can't both be set",
		"jwt: [{issuer: {url: http://a, audiences: [c]}, claimMappings: {username: {expression: claims.sub}}}]":                                      "URL scheme must be https",
		"jwt: [{issuer: {url: https://a, audiences: [c, d]}, claimMappings: {username: {expression: claims.sub}}}]":                                  "audienceMatchPolicy must be MatchAny",
		"jwt: [{issuer: {url: https://own, audiences: [c]}, claimMappings: {username: {expression: claims.sub}}}]":                                   "must not overlap with disallowed issuers",
		"jwt: [{issuer: {url: https://a}, claimMappings: {username: {expression: claims.sub}}}]":                                                     "at least one jwt.issuer.audiences is required",
		"jwt: [{" + issuer + ", claimMappings: {username: {expression: claims.sub}, extra: [{key: x.kubernetes.io/a, valueExpression: a}]}}]":        "reserved for Kubernetes use",
		"jwt: [{" + issuer + ", claimMappings: {username: {expression: claims.sub}, extra: [{key: a, valueExpression: a}]}}]":                        "must be a domain-prefixed path",
		"jwt: [{" + issuer + ", claimMapings: {}}]":                                                                                                  `unknown field "jwt[0].claimMapings"`,
		"jwt: [{" + issuer + ", claimMappings: {username: {expression: claims.sub}}}, {" + issuer + ", claimMappings: {username: {expression: a}}}]": "Duplicate value",
	} {
		_, err := Parse([]byte(head+body), []string{"https://own"})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for source, want := range map[string]string{
		"claims.email":              "claims.email_verified must be used",
		"claims.?email.orValue('')": "claims.email_verified must be used",
		"claims.email_verified ? claims.email : claims.sub": "",
		"claims.emails": "",
		"1":             "must evaluate to string",
		"user.username": "undeclared reference",
		"claims.":       "Syntax error",
	} {
		j := &Issuance{ClaimMappings: ClaimMappings{Username: PrefixedMapping{Expression: source}}}
		_, err := j.compile(field.NewPath("jwt").Index(0))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

func FuzzToken(f *testing.F) {
	p := newProvider(f)
	a := p.authenticator(f, plain)
	f.Add(sign(f, jose.RS256, rsaKey(), "k1", p.claims(nil)))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if id, _ := a.AuthenticateToken(context.Background(), token, nil); id != nil && id.User.Name != "x:jane" {
			t.Errorf("%q became %+v", token, id.User)
		}
	})
}
