package auth

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/test/apiservertest"
)

// connectProxy makes tunnels to loopback and to nowhere else.
type connectProxy struct {
	path string
	mu   sync.Mutex
	to   []string // guarded by mu
}

func newConnectProxy(t testing.TB) *connectProxy {
	p := &connectProxy{path: filepath.Join(short(t), "proxy.sock")}
	l, err := net.Listen("unix", p.path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: p}
	go func() { _ = s.Serve(l) }()      // until Close
	t.Cleanup(func() { _ = s.Close() }) // tunnels end with the servers
	return p
}

func (p *connectProxy) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.to)
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.to = append(p.to, r.Host)
	p.mu.Unlock()
	if !strings.HasPrefix(r.Host, "127.0.0.1:") {
		http.Error(w, "not from here", http.StatusForbidden)
		return
	}
	to, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	// The reader may have the first byte of what follows already.
	from, early, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	go func() { _, _ = io.Copy(to, early.Reader); to.Close() }()
	_, _ = io.Copy(from, to)
	from.Close()
}

func (p *connectProxy) way(name string) string {
	return fmt.Sprintf("- {name: %s, connection: {proxyProtocol: HTTPConnect, transport: {uds: {udsName: %s}}}}\n", name, p.path)
}

// Webhooks and issuers are reached through the control plane's proxy, nodes
// through the cluster's.
func TestEgress(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "hooks")
	plane, cluster := newConnectProxy(t), newConnectProxy(t)
	h := newHook(t, a, func(spec map[string]any) map[string]any {
		return map[string]any{"authenticated": spec["token"] == "jane", "user": map[string]any{"username": "jane"}}
	})
	i := newIssuer(t).serve(t, a)
	dir := t.TempDir()
	config := write(t, filepath.Join(dir, "egress.yaml"), "apiVersion: apiserver.k8s.io/v1beta1\nkind: EgressSelectorConfiguration\negressSelections:\n"+plane.way("controlplane")+cluster.way("cluster"))
	jwt := strings.Replace(simple(a, i.url, "oidc:"), "    audiences", "    egressSelectorType: controlplane\n    audiences", 1)
	s := apiservertest.Start(t, "--egress-selector-config-file="+config, "--authentication-token-webhook-config-file="+h.kubeconfig(t, a), "--authentication-token-webhook-version=v1",
		"--authentication-config="+write(t, filepath.Join(dir, "authn.yaml"), authenticationConfig("", jwt)))
	got, err := doors[0].who(t, s, bearer("jane"))
	isUser(t, got, err, user("jane"))
	got, err = doors[0].who(t, s, bearer(i.token(t, nil)))
	isUser(t, got, err, user("oidc:jane"))
	for _, want := range []string{strings.TrimPrefix(h.URL, "https://"), strings.TrimPrefix(i.url, "https://")} {
		if !slices.Contains(plane.asked(), want) {
			t.Errorf("the proxy was asked for %q, want %s", plane.asked(), want)
		}
	}
	var n corev1.Node
	if err := call(t, s, admin(t, s), http.MethodPost, "/api/v1/nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, &n); err != nil {
		t.Fatal(err)
	}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}}
	if err := call(t, s, admin(t, s), http.MethodPut, "/api/v1/nodes/n1/status", &n, nil); err != nil {
		t.Fatal(err)
	}
	err = call(t, s, admin(t, s), http.MethodGet, "/api/v1/nodes/n1/proxy/healthz", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "the proxy answered 403 Forbidden") || !slices.Contains(cluster.asked(), "192.0.2.7:10250") {
		t.Errorf("%v; the proxy was asked for %q", err, cluster.asked())
	}
}
