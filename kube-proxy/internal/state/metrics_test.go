package state

import (
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

func TestNoLocalEndpoints(t *testing.T) {
	drop, some := compile.Pool{Missing: compile.Drop}, compile.Pool{Backends: []compile.Backend{{Endpoint: compile.EndpointOf(netip.MustParseAddrPort("10.244.0.2:80"))}}}
	at := func(kind compile.Kind, port uint16, p compile.Pool, outside *compile.Pool) compile.Frontend {
		return compile.Frontend{Kind: kind, Port: port, Protocol: unix.IPPROTO_TCP, V4: true, Pool: p, Outside: outside}
	}
	of := func(all ...compile.Frontend) *compile.Service { return &compile.Service{Name: "x/web", Frontends: all} }
	none := of(at(compile.ClusterIP, 80, drop, nil), at(compile.External, 80, some, &drop), at(compile.External, 80, some, &drop), at(compile.NodePort, 30080, some, &drop))
	local := of(at(compile.ClusterIP, 80, some, nil), at(compile.NodePort, 30080, some, &some))
	m := NewMetrics()
	for i, c := range []struct {
		full               bool
		old, now           *compile.Service
		internal, external float64
	}{
		{true, nil, none, 1, 1}, {false, none, local, 0, 0}, {false, local, none, 1, 1}, {false, none, nil, 0, 0}, {true, nil, none, 1, 1}, {true, nil, local, 0, 0},
	} {
		m.synced(&compile.Update{Full: c.full, Changes: []compile.Change{{Name: "x/web", Old: c.old, New: c.now}}}, time.Now(), nil)
		in, out := testutil.ToFloat64(m.noLocal.WithLabelValues("internal", v4)), testutil.ToFloat64(m.noLocal.WithLabelValues("external", v4))
		if in != c.internal || out != c.external {
			t.Errorf("step %d: %v internal, %v external; want %v, %v", i, in, out, c.internal, c.external)
		}
	}
}

func TestPending(t *testing.T) {
	m := NewMetrics()
	m.services.note()
	taken := m.pending()
	m.services.note() // while the first is written
	m.endpoints.note()
	m.settled(taken)
	for _, c := range []struct {
		of             *changes
		total, pending float64
	}{{&m.services, 2, 1}, {&m.endpoints, 1, 1}} {
		if total, pending := testutil.ToFloat64(c.of.total), testutil.ToFloat64(c.of.pending); total != c.total || pending != c.pending {
			t.Errorf("%v changes, %v pending; want %v, %v", total, pending, c.total, c.pending)
		}
	}
}
