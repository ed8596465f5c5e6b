package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: name}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) issue(t testing.TB, c *x509.Certificate) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<60)); err != nil {
		t.Fatal(err)
	}
	if c.NotBefore.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// client is a credential with a certificate.
func (a *authority) client(t testing.TB, name pkix.Name) credential {
	cert, key := a.issue(t, &x509.Certificate{Subject: name, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return credential{cert: cert, key: key}
}

// secure is an HTTPS server of the test with a certificate of the authority.
func (a *authority) secure(t testing.TB, h http.Handler) *httptest.Server {
	return a.secureAt(t, "127.0.0.1:0", h)
}

func (a *authority) secureAt(t testing.TB, address string, h http.Handler) *httptest.Server {
	t.Helper()
	cert, key := a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// issuer is an OpenID Connect provider.
type issuer struct {
	url string

	mu sync.Mutex
	// guarded by mu.
	key *rsa.PrivateKey
	id  string
	// lie is told as the issuer's name when not empty.
	lie string

	looks atomic.Int64 // at the keys
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	i.rotate(t, "k1")
	return i
}

func (i *issuer) rotate(t testing.TB, id string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.id = key, id
}

func (i *issuer) serve(t testing.TB, a *authority) *issuer {
	i.url = a.secure(t, i).URL
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration", "/elsewhere":
		name := i.url
		if i.lie != "" {
			name = i.lie
		}
		answer = map[string]string{"issuer": name, "jwks_uri": "https://" + r.Host + "/keys"}
	case "/keys":
		i.looks.Add(1)
		answer = map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": i.id, "n": b64(i.key.N.Bytes()), "e": b64(big.NewInt(int64(i.key.E)).Bytes()),
		}}}
	default:
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(answer) // the client is gone
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token signs claims, on top of those that every token of the issuer has.
func (i *issuer) token(t testing.TB, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": i.url, "aud": "cluster", "sub": "jane", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
	for k, v := range claims {
		all[k] = v
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return signed(t, i.key, map[string]any{"alg": "RS256", "kid": i.id, "typ": "JWT"}, all)
}

func signed(t testing.TB, key *rsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := b64(h) + "." + b64(c)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(sig)
}

// hook is a webhook: it answers reviews as it is told and counts them.
type hook struct {
	*httptest.Server
	asked atomic.Int64
	mu    sync.Mutex
	// guarded by mu. answer makes the status of a review of its spec.
	answer func(spec map[string]any) map[string]any
	down   bool
	last   map[string]any
}

func newHook(t testing.TB, a *authority, answer func(spec map[string]any) map[string]any) *hook {
	h := &hook{answer: answer}
	h.Server = a.secure(t, h)
	return h
}

func (h *hook) set(f func(h *hook)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(h)
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked.Add(1)
	raw, err := io.ReadAll(r.Body)
	review := map[string]any{}
	if err == nil {
		err = json.Unmarshal(raw, &review)
	}
	if err != nil || h.down {
		http.Error(w, "not today", http.StatusServiceUnavailable)
		return
	}
	h.last = review
	spec, _ := review["spec"].(map[string]any)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client is gone
		"apiVersion": review["apiVersion"], "kind": review["kind"], "status": h.answer(spec),
	})
}

// kubeconfig is a file that leads to the webhook.
func (h *hook) kubeconfig(t testing.TB, a *authority) string {
	return write(t, filepath.Join(t.TempDir(), "hook.kubeconfig"), fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: hook
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: server
  user: {token: secret}
contexts:
- name: c
  context: {cluster: hook, user: server}
current-context: c
`, h.URL, base64.StdEncoding.EncodeToString(a.pem)))
}
