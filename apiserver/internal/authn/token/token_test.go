package token

import (
	"context"
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/authn/authntest"
	"xebec.dev/apiserver/internal/authz/authztest"
	"xebec.dev/apiserver/internal/request"
)

func TestBearer(t *testing.T) {
	b := Bearer{Fixed("good", request.User{Name: "u"})}
	ws := "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte("good"))
	for _, c := range []struct {
		headers   []string
		user, err string
	}{
		{nil, "", ""},
		{[]string{"Authorization: Bearer good"}, "u", ""},
		{[]string{"Authorization: bearer good"}, "u", ""},
		{[]string{"Authorization: Bearer good more"}, "u", ""},
		{[]string{"Authorization: Bearer bad"}, "", "invalid bearer token"},
		{[]string{"Authorization: Bearer"}, "", ""},
		{[]string{"Authorization: Bearer  good"}, "", ""},
		{[]string{"Authorization: Basic YTpi"}, "", ""},
		{[]string{"Authorization: Bearer bad", "Authorization: Bearer good"}, "", "invalid bearer token"},
		{[]string{"Upgrade: websocket", "Sec-WebSocket-Protocol: v5.channel.k8s.io, " + ws}, "u", ""},
		{[]string{"Upgrade: websocket", "Sec-WebSocket-Protocol: " + ws}, "", "missing additional subprotocol"},
		{[]string{"Upgrade: websocket", "Sec-WebSocket-Protocol: a," + ws + "," + ws}, "", "multiple base64.bearer.authorization tokens specified"},
		{[]string{"Upgrade: websocket", "Sec-WebSocket-Protocol: a,base64url.bearer.authorization.k8s.io.!"}, "", "invalid base64.bearer.authorization token encoding"},
		{[]string{"Sec-WebSocket-Protocol: a, " + ws}, "", ""},
	} {
		id, err := b.Authenticate(context.Background(), authntest.Credentials(nil, c.headers...))
		got, text := "", ""
		if id != nil {
			got = id.User.Name
		}
		if err != nil {
			text = err.Error()
		}
		if got != c.user || text != c.err {
			t.Errorf("%q: %q %q, want %q %q", c.headers, got, text, c.user, c.err)
		}
	}
	if got := WithoutWebSocketToken("a, " + ws + ",b"); got != "a,b" {
		t.Errorf("left %q", got)
	}
}

func TestFile(t *testing.T) {
	f, err := ParseFile("f", []byte("t1,u1,1,\"g1,g2\"\nt2,u2,2\n"))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := f.AuthenticateToken(context.Background(), "t1", nil)
	if id == nil || id.User.Name != "u1" || id.User.UID != "1" || len(id.User.Groups) != 2 {
		t.Errorf("%+v", id)
	}
	if id, _ := f.AuthenticateToken(context.Background(), "t", nil); id != nil {
		t.Error("a prefix is accepted")
	}
	for _, bad := range []string{"t,u\n", ",u,1\n", "\"t,u,1\n"} {
		if _, err := ParseFile("f", []byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	own := Agnostic{Own: []string{"api"}, Tokens: f}
	if id, _ := own.AuthenticateToken(context.Background(), "t1", []string{"other"}); id != nil {
		t.Error("vouched for another audience")
	}
	if id, _ := own.AuthenticateToken(context.Background(), "t1", []string{"other", "api"}); id == nil || len(id.Audiences) != 1 || id.Audiences[0] != "api" {
		t.Errorf("%+v", id)
	}
}

func TestBootstrap(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	secret := func(edit func(*corev1.Secret)) *corev1.Secret {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-abcdef"},
			Type:       "bootstrap.kubernetes.io/token",
			Data: map[string][]byte{
				"token-id": []byte("abcdef"), "token-secret": []byte("0123456789abcdef"),
				"usage-bootstrap-authentication": []byte("true"), "auth-extra-groups": []byte("system:bootstrappers:kubeadm:default-node-token"),
				"expiration": []byte("2030-01-01T00:00:01Z"),
			},
		}
		if edit != nil {
			edit(s)
		}
		return s
	}
	set := func(k, v string) func(*corev1.Secret) { return func(s *corev1.Secret) { s.Data[k] = []byte(v) } }
	const good = "abcdef.0123456789abcdef"
	for name, c := range map[string]struct {
		edit  func(*corev1.Secret)
		token string
		ok    bool
	}{
		"good":           {nil, good, true},
		"no expiration":  {func(s *corev1.Secret) { delete(s.Data, "expiration") }, good, true},
		"wrong secret":   {nil, "abcdef.0123456789abcdee", false},
		"other id":       {nil, "abcdeg.0123456789abcdef", false},
		"id differs":     {set("token-id", "xxxxxx"), good, false},
		"expired":        {set("expiration", "2030-01-01T00:00:00Z"), good, false},
		"bad expiration": {set("expiration", "tomorrow"), good, false},
		"not for this":   {set("usage-bootstrap-authentication", "yes"), good, false},
		"bad group":      {set("auth-extra-groups", "system:masters"), good, false},
		"another type":   {func(s *corev1.Secret) { s.Type = "Opaque" }, good, false},
		"being deleted":  {func(s *corev1.Secret) { s.DeletionTimestamp = &metav1.Time{Time: now} }, good, false},
		"another form":   {nil, good + "\n", false},
		"upper case":     {nil, "ABCDEF.0123456789abcdef", false},
	} {
		b := NewBootstrap(authztest.NewReader(secret(c.edit)), authztest.Scheme())
		b.now = func() time.Time { return now }
		id, err := b.AuthenticateToken(context.Background(), c.token, nil)
		if err != nil || (id != nil) != c.ok {
			t.Errorf("%s: %+v %v", name, id, err)
		}
		if id != nil && (id.User.Name != "system:bootstrap:abcdef" || len(id.User.Groups) != 2 || id.User.Groups[0] != "system:bootstrappers") {
			t.Errorf("%s: %+v", name, id.User)
		}
	}
}

type counting struct {
	calls atomic.Int32
	gate  chan struct{}
	err   error
}

func (c *counting) AuthenticateToken(ctx context.Context, token string, _ []string) (*authn.Identity, error) {
	c.calls.Add(1)
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if token == "bad" {
		return nil, c.err
	}
	return &authn.Identity{User: request.User{Name: token}}, nil
}

func TestCache(t *testing.T) {
	inner := &counting{}
	c := NewCache(inner, 10*time.Second, 0)
	now := time.Now()
	c.now = func() time.Time { return now }
	ask := func(token string, audiences ...string) {
		t.Helper()
		if id, _ := c.AuthenticateToken(context.Background(), token, audiences); (id == nil) != (token == "bad") {
			t.Fatalf("%s: %v", token, id)
		}
	}
	ask("a")
	ask("a")
	if n := inner.calls.Load(); n != 1 {
		t.Errorf("%d looks", n)
	}
	ask("a", "aud")
	if n := inner.calls.Load(); n != 2 {
		t.Errorf("%d looks: audiences must be told apart", n)
	}
	now = now.Add(11 * time.Second)
	ask("a")
	if n := inner.calls.Load(); n != 3 {
		t.Errorf("%d looks after the time", n)
	}
	ask("bad")
	ask("bad")
	if n := inner.calls.Load(); n != 5 {
		t.Errorf("%d looks: failures are kept", n)
	}
	inner.err = errors.New("x")
	if _, err := c.AuthenticateToken(context.Background(), "bad", nil); err == nil {
		t.Error("the error is lost")
	}
}

func TestCacheSharesLooks(t *testing.T) {
	inner := &counting{gate: make(chan struct{})}
	c := NewCache(inner, time.Second, 0)
	gone, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	go func() {
		_, err := c.AuthenticateToken(gone, "a", nil)
		first <- err
	}()
	for inner.calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if id, err := c.AuthenticateToken(context.Background(), "a", nil); id == nil || err != nil {
				t.Error(id, err)
			}
		})
	}
	cancel() // who gives up must not fail the others
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(inner.gate)
	wg.Wait()
	if n := inner.calls.Load(); n > 3 {
		t.Errorf("%d looks", n)
	}
}

func FuzzFromAuthorization(f *testing.F) {
	for _, s := range []string{"Bearer a", "bearer  a", "", "Basic x", "Bearer a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if token := FromAuthorization([]string{s}); token != "" && len(s) < len("bearer ")+len(token) {
			t.Errorf("%q gave %q", s, token)
		}
	})
}
