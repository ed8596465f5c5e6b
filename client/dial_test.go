package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/scheme"
	pb "xebec.dev/proto/gen/control/v1"
)

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writePair makes a client certificate.
func writePair(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "client.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, filepath.Join(dir, "client.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

const testKubeconfig = `
apiVersion: v1
kind: Config
current-context: a
contexts:
- {name: a, context: {cluster: c, user: files}}
- {name: b, context: {cluster: c, user: token}}
- {name: d, context: {cluster: c, user: exec}}
- {name: e, context: {cluster: none, user: files}}
clusters:
- {name: c, cluster: {server: "https://example.org:6443", tls-server-name: kubernetes, certificate-authority-data: aGVsbG8=}}
users:
- {name: files, user: {client-certificate: client.crt, client-key: client.key}}
- {name: token, user: {token: secret, tokenFile: token}}
- {name: exec, user: {exec: {command: x}}}
`

func TestKubeconfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	writeFile(t, path, []byte(testKubeconfig))
	c, err := Config{Kubeconfig: path}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if c.Server != "https://example.org:6443" || c.ServerName != "kubernetes" || string(c.CAData) != "hello" || c.CertFile != filepath.Join(dir, "client.crt") {
		t.Errorf("got %+v", c)
	}
	c, err = Config{Kubeconfig: path, Context: "b", Server: "https://other:1"}.complete()
	if err != nil || c.Server != "https://other:1" || c.TokenFile != filepath.Join(dir, "token") || c.Token != "" {
		t.Errorf("got %+v, %v", c, err)
	}
	for _, name := range []string{"d", "e", "none"} {
		if _, err := (Config{Kubeconfig: path, Context: name}).complete(); err == nil {
			t.Errorf("context %s was accepted", name)
		}
	}
	if _, err := (Config{}).complete(); err == nil || !strings.Contains(err.Error(), "no API server") {
		t.Errorf("nothing: %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if c, err := (Config{}).complete(); err != nil || c.Server != "https://10.0.0.1:443" || c.TokenFile == "" {
		t.Errorf("in a pod: %+v, %v", c, err)
	}
}

func TestAddresses(t *testing.T) {
	for server, want := range map[string]string{
		"https://h:6443": "h:6443", "https://h": "h:443", "https://[::1]:6443/": "[::1]:6443",
		"http://h": "", "h:6443": "", "https://h/path": "",
	} {
		got, _, err := addressOf(server)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", server, got, err)
		}
	}
}

type fakeConn struct {
	net.Conn
	closed bool
}

func (c *fakeConn) Close() error { c.closed = true; return nil }

func TestCredentialsFollowTheirFiles(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	writePair(t, dir, "first")
	writeFile(t, token, []byte("one\n"))
	given := Config{CertFile: filepath.Join(dir, "client.crt"), KeyFile: filepath.Join(dir, "client.key"), TokenFile: token}
	id, err := newIdentity(given, given, "h")
	if err != nil {
		t.Fatal(err)
	}
	cfg, stamp := id.config()
	if cfg.Certificates[0].Leaf.Subject.CommonName != "first" || cfg.NextProtos[0] != protocolNative {
		t.Errorf("got %v", cfg.Certificates[0].Leaf.Subject)
	}
	conn := &fakeConn{}
	id.conns[conn] = stamp

	expire := func() { id.checked = time.Time{} }
	writePair(t, dir, "second")
	writeFile(t, token, []byte("second"))
	id.retire()
	if conn.closed {
		t.Error("files were read again at once")
	}
	expire()
	id.retire()
	if !conn.closed {
		t.Error("a connection with the old certificate goes on")
	}
	if md, _ := (bearer{id}).GetRequestMetadata(t.Context()); md["authorization"] != "Bearer second" {
		t.Errorf("sends %v", md)
	}
	writeFile(t, filepath.Join(dir, "client.crt"), []byte("half"))
	expire()
	if cfg, _ := id.config(); cfg.Certificates[0].Leaf.Subject.CommonName != "second" {
		t.Error("a broken file took the certificate away")
	}
}

// TestCredentialsFollowTheKubeconfig: `xebecadm certs renew` writes new
// certificates into the kubeconfigs of the control plane.
func TestCredentialsFollowTheKubeconfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "controller-manager.conf")
	write := func(name, server string) {
		writePair(t, dir, name)
		pem := func(file string) []byte {
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		text, err := yaml.Marshal(map[string]any{
			"current-context": "c", "contexts": []any{map[string]any{"name": "c", "context": map[string]any{"cluster": "c", "user": "u"}}},
			"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{"server": server}}},
			"users":    []any{map[string]any{"name": "u", "user": map[string]any{"client-certificate-data": pem("client.crt"), "client-key-data": pem("client.key")}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, text)
	}
	name := func(id *identity) string {
		cfg, _ := id.config()
		return cfg.Certificates[0].Leaf.Subject.CommonName
	}
	write("first", "https://h:1")
	given := Config{Kubeconfig: path}
	c, err := given.complete()
	if err != nil {
		t.Fatal(err)
	}
	id, err := newIdentity(given, c, "h")
	if err != nil || name(id) != "first" {
		t.Fatalf("%v", err)
	}
	conn := &fakeConn{}
	_, id.conns[conn] = id.config()
	writeFile(t, path, []byte("users: ["))
	id.checked = time.Time{}
	if id.retire(); conn.closed || name(id) != "first" {
		t.Error("a broken kubeconfig took the certificate away")
	}
	write("another cluster's", "https://other:1")
	id.checked = time.Time{}
	if id.retire(); conn.closed || name(id) != "first" {
		t.Error("the credentials of another server were taken")
	}
	write("second", "https://h:1")
	id.checked = time.Time{}
	if id.retire(); !conn.closed || name(id) != "second" {
		t.Errorf("after the kubeconfig's change the client is %s; its old connection is closed: %v", name(id), conn.closed)
	}
}

// TestBrokenKubeconfigBesideFiles: a kubelet's certificate is a file that
// rotates, whatever becomes of its kubeconfig.
func TestBrokenKubeconfigBesideFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kubelet.conf")
	writePair(t, dir, "first")
	writeFile(t, path, []byte(`{"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
"clusters": [{"name": "c", "cluster": {"server": "https://h:1"}}], "users": [{"name": "u", "user": {"client-certificate": "client.crt", "client-key": "client.key"}}]}`))
	given := Config{Kubeconfig: path}
	c, err := given.complete()
	if err != nil {
		t.Fatal(err)
	}
	id, err := newIdentity(given, c, "h")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	writePair(t, dir, "second")
	id.checked = time.Time{}
	if cfg, _ := id.config(); cfg.Certificates[0].Leaf.Subject.CommonName != "second" {
		t.Error("the certificate's file is not read again without the kubeconfig")
	}
}

func TestNobodyHasNoCredentials(t *testing.T) {
	c, err := Config{Server: "https://127.0.0.1:1", Token: "old", CertFile: "c", KeyFile: "k", Nobody: true}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if c.Token != "" || c.CertFile != "" || c.KeyFile != "" {
		t.Errorf("credentials are kept: %+v", c)
	}
}

// calls keeps the options of the calls that are made over it.
type calls struct{ options [][]grpc.CallOption }

var errKept = errors.New("kept")

func (c *calls) Invoke(_ context.Context, _ string, _, _ any, o ...grpc.CallOption) error {
	c.options = append(c.options, o)
	return errKept
}

func (c *calls) NewStream(_ context.Context, _ *grpc.StreamDesc, _ string, o ...grpc.CallOption) (grpc.ClientStream, error) {
	c.options = append(c.options, o)
	return nil, errKept
}

// TestAs: calls and streams of each carry the token of whom they are for, and
// those of the connection's own client none.
func TestAs(t *testing.T) {
	conn := &calls{}
	nobody := New(conn, scheme.New())
	a := nobody.As(func(context.Context) (string, error) { return "a", nil })
	b := nobody.As(func(context.Context) (string, error) { return "b", nil })
	_, _ = a.objects.Get(t.Context(), &pb.GetRequest{})
	_, _ = b.objects.Watch(t.Context())
	_, _ = nobody.objects.Get(t.Context(), &pb.GetRequest{})
	var got []string
	for _, options := range conn.options {
		token := ""
		for _, o := range options {
			if creds, ok := o.(grpc.PerRPCCredsCallOption); ok {
				md, err := creds.Creds.GetRequestMetadata(t.Context())
				if err != nil || !creds.Creds.RequireTransportSecurity() {
					t.Error("the token may go in the clear, or", err)
				}
				token += md["authorization"]
			}
		}
		got = append(got, token)
	}
	if want := []string{"Bearer a", "Bearer b", ""}; !slices.Equal(got, want) {
		t.Errorf("the calls carried %q, want %q", got, want)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
