package testnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"xebec.dev/kube-proxy/internal/compile"
)

// OtherPort is a case of Paths.
const OtherPort = "a port that the service has not"

// Paths checks who answers and whom it sees, for every sort of frontend and
// client; sync puts services into the kernel of the world's node. Cases by
// these names are left out.
func Paths(t *testing.T, w *World, sync func(testing.TB, *compile.Update), without ...string) {
	w.Meet(t)
	for _, at := range []string{":8080", ":8081"} {
		Serve(t, w.Pod, "pod"+at, at)
	}
	Serve(t, w.Other, "other", ":8080")
	Serve(t, w.Outside, "far", ":8080")
	web := func(outside ...string) (compile.Pool, *compile.Pool) {
		p := PoolOf(compile.Never, outside...)
		p.Local = true
		return PoolOf(compile.OffCluster, "10.244.0.2:8080", "192.168.9.2:8080"), &p
	}
	local, outer := web("10.244.0.2:8080")
	lb := Frontend(compile.External, "203.0.113.1:80", local)
	lb.Outside, lb.Balancer = outer, true
	guarded := lb
	guarded.Addr, guarded.Sources = netip.MustParseAddr("203.0.113.2"), Prefixes("192.168.9.2/32", "10.244.0.3/32")
	elsewhere := lb
	elsewhere.Addr, elsewhere.Outside = netip.MustParseAddr("203.0.113.3"), &compile.Pool{Missing: compile.Drop, Local: true}
	localPort := Frontend(compile.NodePort, "0.0.0.0:30081", local)
	localPort.Outside = outer
	sync(t, Full(
		Service("x/one", Frontend(compile.ClusterIP, "10.96.0.1:80", PoolOf(compile.OffCluster, "10.244.0.2:8080")),
			Frontend(compile.NodePort, "0.0.0.0:30080", PoolOf(compile.Always, "10.244.0.2:8080")),
			Frontend(compile.ClusterIP, "[fd96::1]:80", PoolOf(compile.OffCluster, "[fd44::2]:8080")),
			Frontend(compile.NodePort, "[::]:30080", PoolOf(compile.Always, "[fd44::2]:8080"))),
		Service("x/two", Frontend(compile.ClusterIP, "10.96.0.2:80", PoolOf(compile.OffCluster, "10.244.0.3:8080")),
			Frontend(compile.External, "198.51.100.1:80", PoolOf(compile.Always, "10.244.0.3:8080"))),
		Service("x/all", Frontend(compile.ClusterIP, "10.96.0.3:80", PoolOf(compile.Always, "10.244.0.3:8080"))),
		Service("x/local", lb, guarded, elsewhere, localPort),
		Service("x/none", Frontend(compile.ClusterIP, "10.96.0.4:80", compile.Pool{}), Frontend(compile.NodePort, "0.0.0.0:30090", compile.Pool{}),
			Frontend(compile.ClusterIP, "10.96.0.5:80", compile.Pool{Missing: compile.Drop}), Frontend(compile.ClusterIP, "[fd96::4]:80", compile.Pool{})),
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
		{OtherPort, "pod", "10.96.0.1:81", refused},
	} {
		if slices.Contains(without, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			var space, own string
			fmt.Sscan(c.from, &space, &own)
			seen, err := Call(w.Space(space), own, c.to)
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
			seen, err := Call(w.Space(from), "", "203.0.113.1:80")
			if err != nil {
				t.Fatal(err)
			}
			both[Who(seen)] = true
		}
	}
	if len(both) != 2 {
		t.Errorf("from inside only %v", both)
	}
}
