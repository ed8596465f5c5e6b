package frontproxy

import (
	"context"
	"crypto/x509"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"xebec.dev/apiserver/internal/authn/authntest"
	"xebec.dev/apiserver/internal/reload"
	"xebec.dev/apiserver/internal/request"
)

var headers = Headers{Username: []string{"X-Remote-User"}, UID: []string{"X-Remote-Uid"}, Group: []string{"X-Remote-Group"}, Extra: []string{"X-Remote-Extra-"}}

func TestAuthenticate(t *testing.T) {
	ca, other := authntest.NewAuthority(t, "ca"), authntest.NewAuthority(t, "other")
	proxy := ca.Client(authntest.Named("front-proxy-client"))
	full := []string{"X-Remote-User: u", "X-Remote-User: second", "X-Remote-Uid: 7", "X-Remote-Group: a", "X-Remote-Group: b",
		"X-Remote-Extra-Scopes: view", "x-remote-extra-acme.com%2Fproject: p"}
	user := request.User{Name: "u", UID: "7", Groups: []string{"a", "b"}, Extra: map[string][]string{"scopes": {"view"}, "acme.com/project": {"p"}}}
	for name, c := range map[string]struct {
		allowed []string
		cert    *x509.Certificate
		headers []string
		user    *request.User
		err     string
	}{
		"all":                  {[]string{"front-proxy-client"}, proxy, full, &user, ""},
		"any name":             {nil, proxy, full, &user, ""},
		"another name":         {[]string{"x"}, proxy, full, nil, "is not in the allowed list"},
		"another authority":    {nil, other.Client(authntest.Named("front-proxy-client")), full, nil, "unknown authority"},
		"no certificate":       {nil, nil, full, nil, ""},
		"no user":              {nil, proxy, full[2:], nil, ""},
		"an empty user":        {nil, proxy, []string{"X-Remote-User:", "X-Remote-Group: system:masters"}, nil, ""},
		"an underscore's name": {nil, proxy, []string{"X_Remote_User: u"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var certs []*x509.Certificate
			if c.cert != nil {
				certs = append(certs, c.cert)
			}
			id, err := New(reload.Of(ca.Pool()), c.allowed, headers).Authenticate(context.Background(), authntest.Credentials(certs, c.headers...))
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("%v, want %q", err, c.err)
			}
			if (id == nil) != (c.user == nil) || id != nil && !reflect.DeepEqual(id.User, *c.user) {
				t.Fatalf("%+v, want %+v", id, c.user)
			}
		})
	}
}

func TestStrip(t *testing.T) {
	h := http.Header{"X-Remote-User": {"u"}, "X-Remote-Extra-A": {"1"}, "X-Other-User": {"u"}, "x-remote-group": {"g"}, "Accept": {"a"}}
	own := Headers{Username: []string{"X-Other-User"}}
	own.Strip(h)
	if len(h) != 1 || h.Get("Accept") == "" {
		t.Errorf("%v", h)
	}
}

func FuzzExtraKey(f *testing.F) {
	for _, s := range []string{"Scopes", "acme.com%2Fproject", "%", "%zz", "%2F%2f", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Header names are ASCII; the case of other letters is their own.
		if strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
			return
		}
		if ExtraKey(s) != ExtraKey(strings.ToUpper(s)) {
			t.Errorf("%q: the key depends on the case", s)
		}
	})
}
