package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// held are pods as the kubelet would hold them.
type held struct {
	pods       []*corev1.Pod
	containers map[string]Container // by name; "name/previous" for the one before
	sandbox    string
	runtime    runtimeapi.RuntimeServiceClient
}

func (h *held) List() []*corev1.Pod                                  { return h.pods }
func (h *held) Running(context.Context) ([]*corev1.Pod, error)       { return h.pods[:1], nil }
func (h *held) Sandbox(context.Context, *corev1.Pod) (string, error) { return h.sandbox, nil }
func (h *held) Runtime() runtimeapi.RuntimeServiceClient             { return h.runtime }

func (h *held) Pod(namespace, name string) (*corev1.Pod, bool) {
	for _, p := range h.pods {
		if p.Namespace == namespace && p.Name == name {
			return p, true
		}
	}
	return nil, false
}

func (h *held) Container(_ context.Context, _ *corev1.Pod, name string, previous bool) (Container, bool, error) {
	if previous {
		name += "/previous"
	}
	c, ok := h.containers[name]
	return c, ok, nil
}

func onePod(containers ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", UID: "p"}}
	for _, name := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: name})
	}
	return p
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "ca.crt")}
	pair, raw := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) sign(c *x509.Certificate) (tls.Certificate, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	by, with := a.cert, a.key
	if by == nil {
		by, with = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, with)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}, raw
}

// user is the certificate of a user.
func (a *authority) user(name string, groups ...string) *tls.Certificate {
	c, _ := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: groups}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return &c
}

// endpoint is a running server with a caller's view of it.
type endpoint struct {
	t       *testing.T
	address string
	ca      *authority
	admin   *tls.Certificate
}

func serveFor(t *testing.T, pods Pods, o Options) *endpoint {
	t.Helper()
	return serveWith(t, pods, o, func(*Server) {})
}

func serveWith(t *testing.T, pods Pods, o Options, change func(*Server)) *endpoint {
	t.Helper()
	e := &endpoint{t: t, ca: newAuthority(t)}
	e.admin = e.ca.user("admin", masters)
	serving, _ := e.ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "n"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	o.TLS, o.ClientCA, o.Node = &tls.Config{Certificates: []tls.Certificate{serving}}, e.ca.file, "n"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := New(pods, o)
	change(s)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return e
}

func (e *endpoint) tls(as *tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(e.ca.cert)
	c := &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	if as != nil {
		c.Certificates = []tls.Certificate{*as}
	}
	return c
}

// do makes a request as a user, or with a token.
func (e *endpoint) do(as *tls.Certificate, token, method, path string) (int, string) {
	e.t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: e.tls(as), DisableKeepAlives: true}}
	q, err := http.NewRequestWithContext(e.t.Context(), method, "https://"+e.address+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(q)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func (e *endpoint) get(path string) (int, string) {
	e.t.Helper()
	return e.do(e.admin, "", http.MethodGet, path)
}
