package setup

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authn/authntest"
	"xebec.dev/apiserver/internal/authz/authztest"
	"xebec.dev/apiserver/internal/request"
)

type files struct {
	t   testing.TB
	dir string
}

func (f files) write(name string, content []byte) string {
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func build(t testing.TB, d Deps, args ...string) (*Result, error) {
	t.Helper()
	var o Options
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.Flags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Build(&o, d)
}

func deps(objects ...scheme.Object) Deps {
	r := authztest.NewReader(objects...)
	return Deps{Reader: r, Scheme: authztest.Scheme(), ExternalHost: "h:6443",
		Fresh: func(_ context.Context, res *scheme.Resource, ns, name string) (scheme.Object, error) {
			if o, ok := r.Get(res, ns, name); ok {
				return o, nil
			}
			return nil, apierrors.NewNotFound(res.GroupResource(), name)
		}}
}

// who is the outcome in one line.
func who(r *Result, path string, c *request.Credentials) string {
	ctx := request.With(context.Background(), &request.Request{Info: request.Info{Path: path}})
	id, err := r.Authenticate(ctx, c)
	switch {
	case err != nil:
		return "401 " + err.Error()
	case id == nil:
		return "401"
	}
	return id.User.Name + " " + strings.Join(id.User.Groups, ",")
}

const anonymous = "system:anonymous system:unauthenticated"

// The server as envtest starts it: the service account key file is a certificate.
func TestEnvtest(t *testing.T) {
	f := files{t, t.TempDir()}
	ca, sa := authntest.NewAuthority(t, "ca"), authntest.NewAuthority(t, "sa")
	pkcs8, err := x509.MarshalPKCS8PrivateKey(sa.Key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := build(t, deps(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "sa", UID: "1"}}),
		"--client-ca-file="+f.write("ca.crt", ca.PEM()),
		"--service-account-issuer=https://127.0.0.1:1/",
		"--service-account-key-file="+f.write("sa.crt", sa.PEM()),
		"--service-account-signing-key-file="+f.write("sa.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	if err != nil {
		t.Fatal(err)
	}
	admin := []*x509.Certificate{ca.Client(authntest.Named("admin", "system:masters"))}
	stranger := []*x509.Certificate{authntest.NewAuthority(t, "x").Client(authntest.Named("admin", "system:masters"))}
	request, err := r.Requests.Request(context.Background(), "ns", "sa", &authenticationv1.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	bearer := "Authorization: Bearer " + request.Status.Token
	const account = "system:serviceaccount:ns:sa system:serviceaccounts,system:serviceaccounts:ns,system:authenticated"
	for name, c := range map[string]struct {
		certs   []*x509.Certificate
		headers []string
		want    string
	}{
		"nothing":                               {nil, nil, anonymous},
		"admin":                                 {admin, nil, "admin system:masters,system:authenticated"},
		"a service account":                     {nil, []string{bearer}, account},
		"a certificate comes first":             {admin, []string{bearer}, "admin system:masters,system:authenticated"},
		"a bad certificate beside a good token": {stranger, []string{bearer}, account},
		"a bad token":                           {nil, []string{"Authorization: Bearer x"}, "401 invalid bearer token"},
		"a bad token beside a good certificate": {admin, []string{"Authorization: Bearer x"}, "admin system:masters,system:authenticated"},
		"no bearer":                             {nil, []string{"Authorization: Basic x"}, anonymous},
		"headers of no proxy":                   {nil, []string{"X-Remote-User: admin", "X-Remote-Group: system:masters"}, anonymous},
	} {
		if got := who(r, "/", authntest.Credentials(c.certs, c.headers...)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := who(r, "/", authntest.Credentials(stranger)); !strings.HasPrefix(got, "401 verifying certificate SN=") {
		t.Errorf("a bad certificate: %q", got)
	}
	if keys, err := r.Discovery.Keys(); err != nil || !strings.Contains(string(keys), `"kty":"EC"`) || len(r.Audiences) != 1 {
		t.Errorf("%+v, %s, %v", r, keys, err)
	}
}

func TestFrontProxyAndTokens(t *testing.T) {
	f := files{t, t.TempDir()}
	ca, proxy := authntest.NewAuthority(t, "ca"), authntest.NewAuthority(t, "proxy")
	caFile, proxyFile := f.write("ca.crt", ca.PEM()), f.write("proxy.crt", proxy.PEM())
	r, err := build(t, deps(), "--client-ca-file="+caFile, "--anonymous-auth=false",
		"--requestheader-client-ca-file="+proxyFile, "--requestheader-allowed-names=front", "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--token-auth-file="+f.write("tokens", []byte("t,alice,1,devs\n")), "--enable-bootstrap-token-auth", "--api-audiences=api")
	if err != nil {
		t.Fatal(err)
	}
	front := []*x509.Certificate{proxy.Client(authntest.Named("front"))}
	if got := who(r, "/", authntest.Credentials(front, "X-Remote-User: u", "X-Remote-Group: g")); got != "u g,system:authenticated" {
		t.Error(got)
	}
	if got := who(r, "/", authntest.Credentials([]*x509.Certificate{ca.Client(authntest.Named("u"))}, "X-Remote-User: admin", "X-Remote-Group: system:masters")); got != "u system:authenticated" {
		t.Error(got)
	}
	if got := who(r, "/", authntest.Credentials([]*x509.Certificate{proxy.Client(authntest.Named("other"))}, "X-Remote-User: admin")); !strings.HasPrefix(got, "401") {
		t.Error(got)
	}
	if got := who(r, "/", authntest.Credentials(nil, "Authorization: Bearer t")); got != "alice devs,system:authenticated" {
		t.Error(got)
	}
	if got := who(r, "/", authntest.Credentials(nil)); got != "401" {
		t.Error(got)
	}
	if id, _ := r.Tokens.AuthenticateToken(context.Background(), "t", []string{"other"}); id != nil {
		t.Error("vouched for another audience")
	}
	if _, err := build(t, deps(), "--client-ca-file="+caFile, "--requestheader-client-ca-file="+caFile); err == nil {
		t.Error("one authority for clients and proxies is accepted")
	}
}

func TestAnonymousConditions(t *testing.T) {
	f := files{t, t.TempDir()}
	config := f.write("config", []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true, conditions: [{path: /livez}]}\n"))
	r, err := build(t, deps(), "--authentication-config="+config)
	if err != nil {
		t.Fatal(err)
	}
	if got := who(r, "/livez", authntest.Credentials(nil)); got != anonymous {
		t.Error(got)
	}
	for _, path := range []string{"/api", "/livez/ping", "/livez/"} {
		if got := who(r, path, authntest.Credentials(nil)); got != "401" {
			t.Errorf("%s: %s", path, got)
		}
	}
	if _, err := build(t, deps(), "--authentication-config="+config, "--anonymous-auth=true"); err == nil {
		t.Error("two ways of saying it are accepted")
	}
	d := deps()
	d.AlwaysAllow = true
	if r, err = build(t, d); err != nil || who(r, "/livez", authntest.Credentials(nil)) != "401" {
		t.Error("anonymous where everything is allowed")
	}
}

func TestWebhook(t *testing.T) {
	f := files{t, t.TempDir()}
	hook := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review authenticationv1.TokenReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		status := `{"authenticated":false}`
		switch review.Spec.Token {
		case "good":
			status = `{"authenticated":true,"user":{"username":"u","groups":["g"],"extra":{"k":["v"]}}}`
		case "elsewhere":
			status = `{"authenticated":true,"user":{"username":"u"},"audiences":["x"]}`
		case "error":
			status = `{"authenticated":false,"error":"no such token"}`
		}
		fmt.Fprintf(w, `{"apiVersion":%q,"kind":"TokenReview","status":%s}`, review.APIVersion, status)
	}))
	defer hook.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})
	f.write("ca.crt", ca)
	config := f.write("hook", []byte(`{"clusters":[{"name":"x","cluster":{"server":"`+hook.URL+`","certificate-authority":"ca.crt"}}]}`))
	r, err := build(t, deps(), "--authentication-token-webhook-config-file="+config, "--api-audiences=api", "--authentication-token-webhook-version=v1")
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{
		"good": "u g,system:authenticated", "elsewhere": "401 invalid bearer token", "bad": "401 invalid bearer token", "error": "401 no such token",
	} {
		if got := who(r, "/", authntest.Credentials(nil, "Authorization: Bearer "+token)); got != want {
			t.Errorf("%s: %q, want %q", token, got, want)
		}
	}
}

func TestFlagErrors(t *testing.T) {
	f := files{t, t.TempDir()}
	for args, want := range map[string]string{
		"--oidc-issuer-url=https://a":                                              "must be specified together",
		"--oidc-issuer-url=http://a --oidc-client-id=c":                            "URL scheme must be https",
		"--oidc-issuer-url=https://a --oidc-client-id=c":                           "",
		"--oidc-issuer-url=https://a --oidc-client-id=c --oidc-signing-algs=HS256": "unsupported signing alg",
		"--service-account-max-token-expiration=1m":                                "between 1 hour and 2^32 seconds",
		"--authentication-token-webhook-version=v2":                                "is not v1 or v1beta1",
		"--requestheader-username-headers=,":                                       "empty value in",
		"--client-ca-file=" + f.write("empty", nil):                                "no certificate found",
		"--service-account-signing-key-file=x":                                     "service-account-issuer is a required flag",
		"--token-auth-file=" + f.write("bad", []byte("a,b\n")):                     "must have at least 3 columns",
		"": "",
	} {
		_, err := build(t, deps(), strings.Fields(args)...)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

func TestAuthenticationInfo(t *testing.T) {
	f := files{t, t.TempDir()}
	ca := authntest.NewAuthority(t, "ca")
	path := f.write("ca.crt", ca.PEM())
	o := Options{ClientCAFile: path}
	data, err := o.AuthenticationInfo()
	if err != nil || len(data) != 1 || data["client-ca-file"] == "" {
		t.Errorf("%v %v", data, err)
	}
	o.FrontProxy = FrontProxy{ClientCAFile: path, AllowedNames: []string{"front"}, Username: []string{"X-Remote-User"}}
	data, err = o.AuthenticationInfo()
	if err != nil || data["requestheader-allowed-names"] != `["front"]` || data["requestheader-group-headers"] != "[]" || data["requestheader-client-ca-file"] == "" {
		t.Errorf("%v %v", data, err)
	}
}
