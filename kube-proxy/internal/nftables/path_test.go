package nftables

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/testnet"
)

func prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// poolOf endpoints; those of the node's pods are local.
func poolOf(m compile.Masquerade, all ...string) compile.Pool {
	p := compile.Pool{Masquerade: m}
	local := prefixes("10.244.0.0/24", "fd44::/64")
	for _, a := range all {
		at := netip.MustParseAddrPort(a)
		p.Backends = append(p.Backends, compile.Backend{AddrPort: at, Local: local[0].Contains(at.Addr()) || local[1].Contains(at.Addr())})
	}
	return p
}

func frontend(kind compile.Kind, at string, p compile.Pool) compile.Frontend {
	a := netip.MustParseAddrPort(at)
	f := compile.Frontend{Kind: kind, Addr: a.Addr(), Protocol: unix.IPPROTO_TCP, Port: a.Port(), V4: a.Addr().Is4(), Pool: p}
	if kind == compile.NodePort {
		f.Addr = netip.Addr{}
	}
	return f
}

func service(name string, all ...compile.Frontend) *compile.Service {
	return &compile.Service{Name: name, Frontends: all}
}

func full(all ...*compile.Service) *compile.Update {
	u := &compile.Update{Full: true, NodePorts: prefixes("192.168.9.1/32", "fd09::1/128")}
	for _, s := range all {
		u.Changes = append(u.Changes, compile.Change{Name: s.Name, New: s})
	}
	return u
}

func (w *world) sync(t testing.TB, u *compile.Update) {
	t.Helper()
	if err := w.proxy.Sync(u); err != nil {
		t.Fatal(err)
	}
}

func testWorld(t testing.TB) *world {
	return newWorld(t, Options{Pods: Pods{Networks: prefixes("10.244.0.0/16", "fd44::/56")}})
}

func TestPaths(t *testing.T) {
	w := testWorld(t)
	w.Meet(t)
	for _, at := range []string{":8080", ":8081"} {
		testnet.Serve(t, w.Pod, "pod"+at, at)
	}
	testnet.Serve(t, w.Other, "other", ":8080")
	testnet.Serve(t, w.Outside, "far", ":8080")
	web := func(outside ...string) (compile.Pool, *compile.Pool) {
		p := poolOf(compile.Never, outside...)
		return poolOf(compile.OffCluster, "10.244.0.2:8080", "192.168.9.2:8080"), &p
	}
	local, outer := web("10.244.0.2:8080")
	lb := frontend(compile.External, "203.0.113.1:80", local)
	lb.Outside = outer
	guarded := lb
	guarded.Addr, guarded.Sources = netip.MustParseAddr("203.0.113.2"), prefixes("192.168.9.2/32", "10.244.0.3/32")
	elsewhere := lb
	elsewhere.Addr, elsewhere.Outside = netip.MustParseAddr("203.0.113.3"), &compile.Pool{Missing: compile.Drop}
	localPort := frontend(compile.NodePort, "0.0.0.0:30081", local)
	localPort.Outside = outer
	w.sync(t, full(
		service("x/one", frontend(compile.ClusterIP, "10.96.0.1:80", poolOf(compile.OffCluster, "10.244.0.2:8080")),
			frontend(compile.NodePort, "0.0.0.0:30080", poolOf(compile.Always, "10.244.0.2:8080")),
			frontend(compile.ClusterIP, "[fd96::1]:80", poolOf(compile.OffCluster, "[fd44::2]:8080")),
			frontend(compile.NodePort, "[::]:30080", poolOf(compile.Always, "[fd44::2]:8080"))),
		service("x/two", frontend(compile.ClusterIP, "10.96.0.2:80", poolOf(compile.OffCluster, "10.244.0.3:8080")),
			frontend(compile.External, "198.51.100.1:80", poolOf(compile.Always, "10.244.0.3:8080"))),
		service("x/all", frontend(compile.ClusterIP, "10.96.0.3:80", poolOf(compile.Always, "10.244.0.3:8080"))),
		service("x/local", lb, guarded, elsewhere, localPort),
		service("x/none", frontend(compile.ClusterIP, "10.96.0.4:80", compile.Pool{}), frontend(compile.NodePort, "0.0.0.0:30090", compile.Pool{}),
			frontend(compile.ClusterIP, "10.96.0.5:80", compile.Pool{Missing: compile.Drop}), frontend(compile.ClusterIP, "[fd96::4]:80", compile.Pool{})),
	))
	const refused, silent = "refused", "silent"
	for _, c := range []struct {
		name, from, to, seen string
	}{
		{"pod to cluster IP keeps its address", "other", "10.96.0.1:80", "pod:8080 10.244.0.3"},
		{"node to cluster IP", "node", "10.96.0.1:80", "pod:8080 10.244.0.1"},
		{"outside to cluster IP has the node's address", "outside", "10.96.0.1:80", "pod:8080 10.244.0.1"},
		{"a pod to itself", "pod", "10.96.0.1:80", "pod:8080 10.244.0.1"},
		{"masquerade all", "pod", "10.96.0.3:80", "other 10.244.0.1"},
		{"node port from outside", "outside", "192.168.9.1:30080", "pod:8080 10.244.0.1"},
		{"node port from a pod", "other", "192.168.9.1:30080", "pod:8080 10.244.0.1"},
		{"node port from the node", "node", "192.168.9.1:30080", "pod:8080 10.244.0.1"},
		{"no node port at another address", "pod", "10.244.0.1:30080", refused},
		{"IPv6 cluster IP", "other", "[fd96::1]:80", "pod:8080 fd44::3"},
		{"IPv6 hairpin", "pod", "[fd96::1]:80", "pod:8080 fd44::1"},
		{"IPv6 node port", "outside", "[fd09::1]:30080", "pod:8080 fd44::1"},
		{"external IP", "outside", "198.51.100.1:80", "other 10.244.0.1"},
		{"policy Local from outside keeps the address", "outside", "203.0.113.1:80", "pod:8080 192.168.9.2"},
		{"and at node ports", "outside", "192.168.9.1:30081", "pod:8080 192.168.9.2"},
		{"a source that may", "outside", "203.0.113.2:80", "pod:8080 192.168.9.2"},
		{"a source that may not", "outside 192.168.9.3", "203.0.113.2:80", silent},
		{"a pod that may not", "pod", "203.0.113.2:80", silent},
		{"endpoints elsewhere only", "outside", "203.0.113.3:80", silent},
		{"no endpoints, from a pod", "pod", "10.96.0.4:80", refused},
		{"no endpoints, from the node", "node", "10.96.0.4:80", refused},
		{"no endpoints, from outside", "outside", "10.96.0.4:80", refused},
		{"no endpoints, IPv6", "pod", "[fd96::4]:80", refused},
		{"no endpoints here", "pod", "10.96.0.5:80", silent},
		{"no endpoints, node port", "outside", "192.168.9.1:30090", refused},
		{"a port that the service has not", "pod", "10.96.0.1:81", refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			var space, own string
			fmt.Sscan(c.from, &space, &own)
			seen, err := testnet.Call(w.Space(space), own, c.to)
			switch {
			case c.seen == refused:
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%q, %v", seen, err)
				}
			case c.seen == silent:
				var timeout interface{ Timeout() bool }
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("%q, %v", seen, err)
				}
			case err != nil || seen != c.seen:
				t.Errorf("%q, %v", seen, err)
			}
		})
	}
	// The policy does not apply inside: both endpoints answer.
	both := map[string]bool{}
	for deadline := time.Now().Add(30 * time.Second); len(both) < 2 && time.Now().Before(deadline); {
		for _, from := range []string{"other", "node"} {
			seen, err := testnet.Call(w.Space(from), "", "203.0.113.1:80")
			if err != nil {
				t.Fatal(err)
			}
			both[testnet.Who(seen)] = true
		}
	}
	if len(both) != 2 {
		t.Errorf("from inside only %v", both)
	}
}
