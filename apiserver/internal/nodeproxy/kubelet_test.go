package nodeproxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What goes to the kubelet has a path that a server takes, and the kubelet's
// names of the streams.
func TestStreamRequest(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	for subresource, want := range map[string]string{
		"exec": "/exec/ns/p/c?command=a+b&error=1&output=1", "attach": "/attach/ns/p/c?command=a+b&error=1&output=1", "portforward": "/portForward/ns/p?command=a+b&stderr=true&stdin=False&stdout=True",
	} {
		q := url.Values{"command": {"a b"}, "stdout": {"True"}, "stderr": {"true"}, "stdin": {"False"}}
		path, _, err := (&Proxy{}).streamTarget(pod, subresource, q)
		if err != nil {
			t.Fatal(err)
		}
		u := kubeletBase("192.0.2.1", 10250).JoinPath(path...)
		u.RawQuery = q.Encode()
		if have := u.RequestURI(); have != want {
			t.Errorf("%s: have %s, want %s", subresource, have, want)
		}
	}
}

func TestRefusedLogs(t *testing.T) {
	for code, check := range map[int]func(error) bool{400: apierrors.IsBadRequest, 404: apierrors.IsNotFound, 500: apierrors.IsInternalError} {
		const text = `container "c" in pod "p" is waiting to start: ContainerCreating`
		err := copyLog(httptest.NewRecorder(), &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(text))})
		if !check(err) || !strings.Contains(err.Error(), text) && code != 404 {
			t.Errorf("%d: %v", code, err)
		}
	}
}

// The words of a path that mean the proxy are found by their place.
func TestBehind(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/namespaces/n/pods/p/proxy":                        "",
		"/api/v1/namespaces/n/pods/p/proxy/":                       "/",
		"/api/v1/namespaces/n/pods/p/proxy/a/b%2Fc":                "/a/b%2Fc",
		"/api/v1/namespaces/proxy/pods/proxy-1:80/proxy/proxy/a":   "/proxy/a",
		"/api/v1/namespaces/proxy/services/proxy/proxy/metrics//x": "/metrics//x",
	} {
		if have := behind(path, true); have != want {
			t.Errorf("%s: %q, want %q", path, have, want)
		}
	}
	if have := behind("/api/v1/nodes/proxy/proxy/stats/proxy", false); have != "/stats/proxy" {
		t.Errorf("of a node: %q", have)
	}
}

// A node's certificate is verified, unless the reader of a log says otherwise.
func TestUnverified(t *testing.T) {
	node := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !Returned(r.Header) {
			t.Error("a request to a node is not marked")
		}
		_, _ = io.WriteString(w, "a line\n") // the test sees what arrives
	}))
	t.Cleanup(node.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	// Any other authority than the node's.
	if err := os.WriteFile(ca, otherAuthority(t), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := New(Options{CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		transport *http.Transport
		trusted   bool
	}{{p.kubelet, false}, {p.unverified, true}} {
		q := httptest.NewRequest(http.MethodGet, node.URL, nil)
		q.RequestURI = ""
		q.Header.Set("Via", via)
		resp, err := c.transport.RoundTrip(q)
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil) != c.trusted {
			t.Errorf("trusted %t: %v", c.trusted, err)
		}
	}
}

func otherAuthority(t *testing.T) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
