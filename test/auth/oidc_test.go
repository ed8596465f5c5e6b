package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"xebec.dev/test/apiservertest"
)

func TestOIDCByFlags(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "issuers")
	i := newIssuer(t).serve(t, a)
	s := apiservertest.Start(t, "--oidc-issuer-url="+i.url, "--oidc-client-id=cluster", "--oidc-ca-file="+write(t, filepath.Join(t.TempDir(), "ca"), string(a.pem)),
		"--oidc-groups-claim=groups", "--oidc-groups-prefix=corp:", "--oidc-required-claim=hd=example.com")
	good := map[string]any{"hd": "example.com", "groups": []string{"dev", "ops"}, "jti": "id-1"}
	with := func(more map[string]any) map[string]any {
		c := map[string]any{}
		for _, m := range []map[string]any{good, more} {
			for k, v := range m {
				c[k] = v
			}
		}
		return c
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	claims := with(map[string]any{"iss": i.url, "aud": "cluster", "sub": "jane", "exp": time.Now().Add(time.Hour).Unix()})
	whole := i.token(t, good)
	bad := map[string]string{
		"expired":             i.token(t, with(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})),
		"not yet":             i.token(t, with(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()})),
		"other audience":      i.token(t, with(map[string]any{"aud": "elsewhere"})),
		"other issuer":        i.token(t, with(map[string]any{"iss": i.url + "/x"})),
		"claim missing":       i.token(t, map[string]any{}),
		"claim differs":       i.token(t, with(map[string]any{"hd": "example.org"})),
		"groups of numbers":   i.token(t, with(map[string]any{"groups": []int{1}})),
		"no name":             i.token(t, with(map[string]any{"sub": nil})),
		"stranger's key":      signed(t, stranger, map[string]any{"alg": "RS256", "kid": "k1"}, claims),
		"unsigned":            whole[:strings.LastIndex(whole, ".")+1],
		"none":                b64([]byte(`{"alg":"none"}`)) + "." + strings.Split(whole, ".")[1] + ".",
		"no token at all":     "x",
		"header of a secret":  signed(t, i.key, map[string]any{"alg": "HS256", "kid": "k1"}, claims),
		"unsigned algorithm":  signed(t, i.key, map[string]any{"alg": "RS512", "kid": "k1"}, claims),
		"payload of another":  strings.Split(whole, ".")[0] + "." + strings.Split(i.token(t, with(map[string]any{"sub": "root"})), ".")[1] + "." + strings.Split(whole, ".")[2],
		"critical extensions": signed(t, i.key, map[string]any{"alg": "RS256", "kid": "k1", "crit": []string{"x"}, "x": 1}, claims),
	}
	each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
		got, err := who(s, bearer(whole))
		want := user(i.url+"#jane", "corp:dev", "corp:ops")
		want.Extra = map[string]authenticationv1.ExtraValue{"authentication.kubernetes.io/credential-id": {"JTI=id-1"}}
		isUser(t, got, err, want)
		got, err = who(s, bearer(i.token(t, with(map[string]any{"groups": "dev", "jti": 1, "aud": []string{"x", "cluster"}}))))
		isUser(t, got, err, user(i.url+"#jane", "corp:dev"))
		for name, token := range bad {
			t.Run(name, func(t *testing.T) {
				_, err := who(s, bearer(token))
				unauthorized(t, err)
			})
		}
	})
	// A new key of the issuer is found by its name.
	i.rotate(t, "k2")
	eventually(t, "the new key", func() error {
		_, err := doors[0].who(t, s, bearer(i.token(t, good)))
		return err
	})
	if _, err := doors[0].who(t, s, bearer(whole)); err != nil {
		// The cache of answers still has it; the keys would not.
		t.Logf("token of the old key: %v", err)
	}
}

// config is an AuthenticationConfiguration with some issuers and a rest.
func authenticationConfig(rest string, jwt ...string) string {
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
	if len(jwt) > 0 {
		text += "jwt:\n" + strings.Join(jwt, "")
	}
	return text + rest
}

func indent(text string, by int) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+strings.Repeat(" ", by))
}

// simple is an issuer's entry whose users are the sub with a prefix.
func simple(a *authority, url, prefix string) string {
	return fmt.Sprintf(`- issuer:
    url: %s
    audiences: [cluster]
    certificateAuthority: |
      %s
  claimMappings:
    username: {claim: sub, prefix: %q}
`, url, indent(string(a.pem), 6), prefix)
}

func TestAuthenticationConfiguration(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "issuers")
	one, two, three := newIssuer(t).serve(t, a), newIssuer(t).serve(t, a), newIssuer(t).serve(t, a)
	mapped := fmt.Sprintf(`- issuer:
    url: %s
    discoveryURL: %s/elsewhere
    audiences: [cluster, other]
    audienceMatchPolicy: MatchAny
    certificateAuthority: |
      %s
  claimValidationRules:
  - claim: tenant
    requiredValue: t1
  - expression: claims.level >= 3
    message: the level must be 3 at least
  claimMappings:
    username: {expression: '"ext:" + claims.email + (claims.email_verified ? "" : "?")'}
    groups: {expression: 'claims.roles.split(",").map(r, "role:" + r)'}
    uid: {claim: oid}
    extra:
    - {key: example.com/tenant, valueExpression: claims.tenant}
    - {key: example.com/teams, valueExpression: 'claims.?teams.orValue([])'}
  userValidationRules:
  - expression: "!user.username.startsWith('ext:system:')"
    message: no system users
  - expression: "user.groups.all(g, g != 'role:root')"
`, two.url, two.url, indent(string(a.pem), 6))
	path := write(t, filepath.Join(t.TempDir(), "authn.yaml"), authenticationConfig("", simple(a, one.url, "one:"), mapped))
	s := apiservertest.Start(t, "--authentication-config="+path)
	good := map[string]any{"tenant": "t1", "level": 3, "email": "j@example.com", "email_verified": true, "roles": "a,b", "oid": "u-1", "teams": []string{"x", "", "y"}}
	with := func(k string, v any) map[string]any {
		c := map[string]any{}
		for k, v := range good {
			c[k] = v
		}
		c[k] = v
		return c
	}
	each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
		got, err := who(s, bearer(one.token(t, nil)))
		isUser(t, got, err, user("one:jane"))
		got, err = who(s, bearer(two.token(t, with("aud", "other"))))
		want := user("ext:j@example.com", "role:a", "role:b")
		want.UID = "u-1"
		want.Extra = map[string]authenticationv1.ExtraValue{"example.com/tenant": {"t1"}, "example.com/teams": {"x", "y"}}
		isUser(t, got, err, want)
		for name, token := range map[string]string{
			"tenant": two.token(t, with("tenant", "t2")), "level": two.token(t, with("level", 2)), "no level": two.token(t, with("level", nil)),
			"a system user": two.token(t, with("email", "system:x")), "root": two.token(t, with("roles", "a,root")), "uid of a number": two.token(t, with("oid", 7)),
			"unknown issuer": three.token(t, nil), "email of a number": two.token(t, with("email", 7)),
		} {
			t.Run(name, func(t *testing.T) {
				_, err := who(s, bearer(token))
				unauthorized(t, err)
			})
		}
	})
	t.Run("reload", func(t *testing.T) {
		// A file that is wrong changes nothing.
		write(t, path, authenticationConfig("", simple(a, three.url, "three:"), "- issuer: {url: 'http://x'}\n"))
		eventually(t, "the report", func() error {
			if !strings.Contains(s.Log(), "URL scheme must be https") {
				// The file is looked at when somebody asks.
				_, _ = doors[0].who(t, s, bearer(one.token(t, map[string]any{"n": time.Now().UnixNano()})))
				return errors.New(s.Log())
			}
			return nil
		})
		got, err := doors[0].who(t, s, bearer(one.token(t, map[string]any{"again": 1})))
		isUser(t, got, err, user("one:jane"))
		write(t, path, authenticationConfig("", simple(a, three.url, "three:")))
		each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
			eventually(t, "the third issuer", func() error {
				_, err := who(s, bearer(three.token(t, map[string]any{"n": time.Now().UnixNano()})))
				return err
			})
			_, err := who(s, bearer(one.token(t, map[string]any{"gone": t.Name()})))
			unauthorized(t, err)
		})
		for _, status := range []string{"success", "failure"} {
			if n := metric(t, s, reloads("authentication", status)); n != 1 {
				t.Errorf("reloads with %s: %v", status, n)
			}
		}
	})
}

// reloads is the series of a configuration's reloads.
func reloads(what, status string) string {
	return fmt.Sprintf("apiserver_%s_config_controller_automatic_reloads_total{apiserver_id_hash=%q,status=%q}", what, identity(), status)
}

// An issuer that is away when the server starts hinders nobody, and is found
// when it is there.
func TestIssuerDownAtStart(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "issuers")
	there, away := newIssuer(t).serve(t, a), newIssuer(t)
	address := fmt.Sprintf("127.0.0.1:%d", apiservertest.FreePort(t))
	away.url = "https://" + address
	path := write(t, filepath.Join(t.TempDir(), "authn.yaml"), authenticationConfig("", simple(a, away.url, "away:"), simple(a, there.url, "there:")))
	s := apiservertest.Start(t, "--authentication-config="+path)
	got, err := doors[0].who(t, s, bearer(there.token(t, nil)))
	isUser(t, got, err, user("there:jane"))
	_, err = doors[0].who(t, s, bearer(away.token(t, nil)))
	unauthorized(t, err)
	a.secureAt(t, address, away)
	each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
		eventually(t, "the issuer", func() error {
			_, err := who(s, bearer(away.token(t, nil)))
			return err
		})
	})
}

// A provider that says it is another is not believed.
func TestIssuerThatLies(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "issuers")
	i := newIssuer(t).serve(t, a)
	i.lie = "https://example.com"
	path := write(t, filepath.Join(t.TempDir(), "authn.yaml"), authenticationConfig("", simple(a, i.url, "")))
	s := apiservertest.Start(t, "--authentication-config="+path)
	_, err := doors[0].who(t, s, bearer(i.token(t, nil)))
	unauthorized(t, err)
}

// Requests without a credential get in where the configuration lets them.
func TestAnonymousConditions(t *testing.T) {
	t.Parallel()
	path := write(t, filepath.Join(t.TempDir(), "authn.yaml"), authenticationConfig("anonymous:\n  enabled: true\n  conditions: [{path: /livez}, {path: /readyz}]\n"))
	s := apiservertest.Start(t, "--authentication-config="+path)
	var text string
	for _, p := range []string{"/livez", "/readyz"} {
		if err := call(t, s, credential{}, http.MethodGet, p, nil, &text); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	for _, p := range []string{"/healthz", "/livez/ping", "/version", "/api", "/api/v1/namespaces"} {
		unauthorized(t, call(t, s, credential{}, http.MethodGet, p, nil, nil))
	}
	// A bad credential is not the same as none.
	unauthorized(t, call(t, s, bearer("x"), http.MethodGet, "/livez", nil, nil))
	_, err := doors[1].who(t, s, credential{})
	unauthorized(t, err)
	write(t, path, authenticationConfig("anonymous:\n  enabled: true\n"))
	eventually(t, "anonymity everywhere", func() error { return call(t, s, credential{}, http.MethodGet, "/version", nil, &text) })
	_, err = doors[1].who(t, s, credential{})
	is(t, err, http.StatusForbidden, `selfsubjectreviews.authentication.k8s.io is forbidden: User "system:anonymous" cannot create resource "selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope`)
	write(t, path, authenticationConfig("anonymous:\n  enabled: false\n"))
	eventually(t, "anonymity nowhere", func() error {
		if err := call(t, s, credential{}, http.MethodGet, "/livez", nil, &text); err == nil {
			return errors.New("still let in")
		}
		return nil
	})
}
