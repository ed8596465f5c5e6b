package egress

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const head = "apiVersion: apiserver.k8s.io/v1beta1\nkind: EgressSelectorConfiguration\negressSelections:\n"

func tunnel(address string) string {
	return head + fmt.Sprintf("- {name: cluster, connection: {proxyProtocol: HTTPConnect, transport: %s}}\n", address)
}

// proxy is a CONNECT proxy; asked is told of what it is asked for.
func proxy(t *testing.T, l net.Listener, asked func(string)) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked(r.Host)
		if r.Method != http.MethodConnect || strings.HasPrefix(r.Host, "forbidden") {
			http.Error(w, "no", http.StatusForbidden)
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
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
}

func TestTunnel(t *testing.T) {
	goal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "there") }))
	t.Cleanup(goal.Close)
	for _, network := range []string{"tcp", "unix"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = filepath.Join(t.TempDir(), "s")
		}
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan string, 10)
		proxy(t, l, func(host string) { asked <- host })
		way := fmt.Sprintf("{tcp: {url: 'http://%s'}}", l.Addr())
		if network == "unix" {
			way = fmt.Sprintf("{uds: {udsName: %s}}", address)
		}
		s, err := Parse([]byte(tunnel(way)))
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Transport: &http.Transport{DialContext: s.To(Cluster)}}
		t.Cleanup(c.CloseIdleConnections)
		resp, err := c.Get(goal.URL)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := <-asked; string(text) != "there" || got != goal.Listener.Addr().String() {
			t.Errorf("%s: %q, asked for %s", network, text, got)
		}
		if _, err := c.Get("http://forbidden.example/"); err == nil || !strings.Contains(err.Error(), "the proxy answered 403 Forbidden") {
			t.Errorf("%s: %v", network, err)
		}
		if s.To(ControlPlane) != nil {
			t.Error("the control plane has a proxy, too")
		}
	}
}

// A proxy that does not answer costs no more than the caller's time.
func TestSilentProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s, err := Parse([]byte(tunnel(fmt.Sprintf("{tcp: {url: 'http://%s'}}", l.Addr()))))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.To(Cluster)(ctx, "tcp", "10.0.0.1:1"); err == nil {
		t.Error("a tunnel of nothing")
	}
}

func TestConfiguration(t *testing.T) {
	var none *Selector
	if none.To(Cluster) != nil {
		t.Error("a way without a configuration")
	}
	if _, err := Parse([]byte(head + "- {name: etcd, connection: {proxyProtocol: Direct}}\n- {name: cluster, connection: {proxyProtocol: Direct}}\n")); err != nil {
		t.Error(err)
	}
	for want, bad := range map[string]string{
		`egressSelections[0].name: Unsupported value: "x"`:            "- {name: x, connection: {proxyProtocol: Direct}}\n",
		`egressSelections[1].name: Duplicate value: "cluster"`:        "- {name: cluster, connection: {proxyProtocol: Direct}}\n- {name: cluster, connection: {proxyProtocol: Direct}}\n",
		`egressSelections[0].connection.proxyProtocol: Unsupported`:   "- {name: cluster, connection: {proxyProtocol: SOCKS}}\n",
		`proxies are spoken to by HTTPConnect`:                        "- {name: cluster, connection: {proxyProtocol: GRPC, transport: {uds: {udsName: /x}}}}\n",
		`Transport config should be absent for direct connect`:        "- {name: cluster, connection: {proxyProtocol: Direct, transport: {uds: {udsName: /x}}}}\n",
		`exactly one of TCP or UDS must be set`:                       "- {name: cluster, connection: {proxyProtocol: HTTPConnect}}\n",
		`TLSConfig must be present when using HTTPS`:                  "- {name: cluster, connection: {proxyProtocol: HTTPConnect, transport: {tcp: {url: 'https://a:1'}}}}\n",
		`TLSConfig config should not be present when using HTTP`:      "- {name: cluster, connection: {proxyProtocol: HTTPConnect, transport: {tcp: {url: 'http://a:1', tlsConfig: {}}}}}\n",
		`must be http://HOST:PORT or https://HOST:PORT`:               "- {name: cluster, connection: {proxyProtocol: HTTPConnect, transport: {tcp: {url: 'a:1'}}}}\n",
		`UDSName should be present for UDS connections`:               "- {name: cluster, connection: {proxyProtocol: HTTPConnect, transport: {uds: {}}}}\n",
		`etcd is reached directly only`:                               "- {name: etcd, connection: {proxyProtocol: HTTPConnect, transport: {uds: {udsName: /x}}}}\n",
		`strict decoding error: unknown field "egressSelections[0].x`: "- {name: etcd, x: 1, connection: {proxyProtocol: Direct}}\n",
	} {
		if _, err := Parse([]byte(head + bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
