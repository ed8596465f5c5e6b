package cert

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"

	"xebec.dev/apiserver/internal/authn/authntest"
	"xebec.dev/apiserver/internal/reload"
)

func TestAuthenticate(t *testing.T) {
	ca, other := authntest.NewAuthority(t, "ca"), authntest.NewAuthority(t, "other")
	a := New(reload.Of(ca.Pool()))
	uid := func(values ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			for _, v := range values {
				c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: uidOID, Value: v})
			}
		}
	}
	for name, c := range map[string]struct {
		cert *x509.Certificate
		user string // "name uid groups", "" for nobody
		err  string
	}{
		"user and groups":   {ca.Client(authntest.Named("u", "g1", "g2")), "u  g1,g2", ""},
		"uid":               {ca.Client(authntest.Named("u"), uid("7")), "u 7 ", ""},
		"two uids":          {ca.Client(authntest.Named("u"), uid("7", "8")), "", "found multiple"},
		"no common name":    {ca.Client(authntest.Named("", "g")), "", ""},
		"another authority": {other.Client(authntest.Named("u")), "", "unknown authority"},
		"a server's":        {ca.Client(authntest.Named("u"), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "", "incompatible key usage"},
		"expired":           {ca.Client(authntest.Named("u"), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "", "expired"},
		"not yet valid": {ca.Client(authntest.Named("u"), func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		}), "", "not yet valid"},
	} {
		for range 2 { // the second answer may be remembered
			id, err := a.Authenticate(context.Background(), authntest.Credentials([]*x509.Certificate{c.cert}))
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", name, err, c.err)
				continue
			}
			got := ""
			if id != nil {
				got = id.User.Name + " " + id.User.UID + " " + strings.Join(id.User.Groups, ",")
				if !strings.HasPrefix(id.CredentialID, "X509SHA256=") {
					t.Errorf("%s: credential id %q", name, id.CredentialID)
				}
			}
			if got != c.user {
				t.Errorf("%s: %q, want %q", name, got, c.user)
			}
		}
	}
	if id, err := a.Authenticate(context.Background(), authntest.Credentials(nil)); id != nil || err != nil {
		t.Error("no certificate", id, err)
	}
}

// What is remembered ends with the chain's validity.
func TestRememberedExpires(t *testing.T) {
	ca := authntest.NewAuthority(t, "ca")
	a := New(reload.Of(ca.Pool()))
	now := time.Now()
	a.now = func() time.Time { return now }
	c := authntest.Credentials([]*x509.Certificate{ca.Client(authntest.Named("u"))})
	if id, err := a.Authenticate(context.Background(), c); id == nil || err != nil {
		t.Fatal(id, err)
	}
	now = now.Add(2 * time.Hour)
	if id, err := a.Authenticate(context.Background(), c); id != nil || err == nil {
		t.Fatal("expired, but remembered")
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	ca := authntest.NewAuthority(b, "ca")
	a := New(reload.Of(ca.Pool()))
	c := authntest.Credentials([]*x509.Certificate{ca.Client(authntest.Named("u"))})
	for b.Loop() {
		if id, _ := a.Authenticate(context.Background(), c); id == nil {
			b.Fatal("refused")
		}
	}
}
