package health

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"xebec.dev/kube-proxy/internal/compile"
)

func TestProxy(t *testing.T) {
	now := time.Unix(1000, 0)
	p := NewProxy(time.Minute)
	p.now = func() time.Time { return now }
	mux := http.NewServeMux()
	p.Register(mux)
	expect := func(name string, healthz, livez int) {
		t.Helper()
		for path, want := range map[string]int{"/healthz": healthz, "/livez": livez} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if w.Code != want || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: %s says %d %s, want %d", name, path, w.Code, w.Body, want)
			}
		}
	}
	expect("before the first update", 503, 503)
	p.Updated()
	expect("all done", 200, 200)
	now = now.Add(time.Hour)
	expect("nothing to do for long", 200, 200)
	p.Queued()
	now = now.Add(30 * time.Second)
	p.Queued() // more to do does not make what waits younger
	expect("something waits", 200, 200)
	now = now.Add(31 * time.Second)
	expect("for too long", 503, 503)
	p.Updated()
	p.Node(false)
	expect("the node goes", 503, 200)
}

func TestServices(t *testing.T) {
	p := NewProxy(time.Minute)
	p.Updated()
	s := NewServices(p, zap.NewNop())
	defer s.Close()
	var at string
	s.listen = func(network, _ string) (net.Listener, error) {
		l, err := net.Listen(network, "127.0.0.1:0")
		if err == nil {
			at = "http://" + l.Addr().String()
		}
		return l, err
	}
	of := func(local int) *compile.Service {
		return &compile.Service{Name: "x/web", Health: &compile.Health{Port: 30000, Local: local}}
	}
	nodes := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	for _, local := range []int{2, 0} {
		s.Changed(&compile.Update{Changes: []compile.Change{{Name: "x/web", New: of(local)}}, NodePorts: nodes})
		resp, err := http.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		var got answer
		err = json.NewDecoder(resp.Body).Decode(&got)
		resp.Body.Close()
		if err != nil || got.LocalEndpoints != local || got.Service.Namespace != "x" || got.Service.Name != "web" || !got.ServiceProxyHealthy || (resp.StatusCode == 200) != (local > 0) {
			t.Errorf("%d local: %d %+v, %v", local, resp.StatusCode, got, err)
		}
	}
	// A full update without the service is its end.
	s.Changed(&compile.Update{Full: true, NodePorts: nodes})
	http.DefaultClient.CloseIdleConnections()
	if _, err := http.Get(at); err == nil {
		t.Error("the port of a service that is gone answers")
	}
}

// TestAddresses: a health check port is open where node ports are, and nowhere
// else.
func TestAddresses(t *testing.T) {
	s := NewServices(NewProxy(time.Minute), zap.NewNop())
	s.own = func() (out []net.Addr, err error) {
		for _, text := range []string{"127.0.0.1/8", "192.0.2.7/24", "203.0.113.9/24", "fd00::7/64", "fe80::1/64", "2001:db8::1/64"} {
			ip, n, err := net.ParseCIDR(text)
			if err != nil {
				return nil, err
			}
			out = append(out, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		return out, nil
	}
	for _, tt := range []struct{ nodes, want []string }{
		{[]string{"192.0.2.0/24", "fd00::/64"}, []string{"192.0.2.7", "fd00::7"}},
		{[]string{"192.0.2.0/24", "192.0.2.7/32", "198.51.100.0/24", "fe80::/64"}, []string{"192.0.2.7"}},
		{[]string{"203.0.113.9/32"}, []string{"203.0.113.9"}},
		{[]string{"192.0.2.0/24", "0.0.0.0/0", "::/0"}, []string{""}},
	} {
		s.nodes = nil
		for _, n := range tt.nodes {
			s.nodes = append(s.nodes, netip.MustParsePrefix(n))
		}
		if got, err := s.addresses(); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, %v, want %v", tt.nodes, got, err, tt.want)
		}
	}
}

// ear knows whether it is closed.
type ear struct {
	net.Listener
	closed atomic.Bool
}

func (e *ear) Close() error {
	e.closed.Store(true)
	return e.Listener.Close()
}

// TestLateAddresses: a health check port is opened at addresses that come
// later or could not be had at first, and closed at those that go; what goes
// wrong is told once.
func TestLateAddresses(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	s := NewServices(NewProxy(time.Minute), zap.New(core))
	defer s.Close()
	var own []string
	s.own = func() (out []net.Addr, err error) {
		for _, ip := range own {
			out = append(out, &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(24, 32)})
		}
		return out, nil
	}
	taken, open := map[string]bool{}, map[string]*ear{}
	s.listen = func(network, address string) (net.Listener, error) {
		if taken[address] {
			return nil, fmt.Errorf("listen %s: address already in use", address)
		}
		l, err := net.Listen(network, "127.0.0.1:0")
		if before := open[address]; before != nil && !before.closed.Load() {
			t.Errorf("%s is opened twice", address)
		}
		open[address] = &ear{Listener: l}
		return open[address], err
	}
	failed := 0
	s.Failed = func(string, uint16, error) { failed++ }
	update := &compile.Update{
		Full: true, NodePorts: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.7/32")},
		Changes: []compile.Change{{Name: "x/web", New: &compile.Service{Name: "x/web", Health: &compile.Health{Port: 30000}}}},
	}
	step := func(what string, failures, warnings int, want ...string) {
		t.Helper()
		s.Changed(update)
		s.Changed(&compile.Update{NodePorts: update.NodePorts}) // of some other service
		var got []string
		for a, l := range open {
			if !l.closed.Load() {
				got = append(got, a)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || failed != failures || logs.Len() != warnings {
			t.Errorf("%s: %v are open, %d failures, %d warnings; want %v, %d, %d", what, got, failed, logs.Len(), want, failures, warnings)
		}
	}
	taken["198.51.100.7:30000"] = true
	step("one address can't be had, others are not there yet", 1, 1)
	own = []string{"192.0.2.7"}
	step("one has come", 1, 1, "192.0.2.7:30000")
	own = append(own, "192.0.2.8")
	step("and another one", 1, 1, "192.0.2.7:30000", "192.0.2.8:30000")
	clear(taken)
	step("the first is free", 1, 1, "192.0.2.7:30000", "192.0.2.8:30000", "198.51.100.7:30000")
	own = own[1:]
	step("one goes", 1, 1, "192.0.2.8:30000", "198.51.100.7:30000")
	update.NodePorts, own = update.NodePorts[:1], nil
	step("none is left", 1, 2)
	own = []string{"192.0.2.7"}
	step("one is back", 1, 2, "192.0.2.7:30000")
}
