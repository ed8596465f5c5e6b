package podnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"xebec.dev/kube-proxy/internal/testnet"
)

func TestApply(t *testing.T) {
	w := testnet.NewWorld(t)
	testnet.Serve(t, w.Pod, "", ":8080")
	testnet.Serve(t, w.Outside, "", ":80")
	conf := filepath.Join(t.TempDir(), "net.d", "10-xebec.conflist")
	s := &State{
		Node: "a", Bridge: "cni0", Cluster: prefixes("10.244.0.0/16"),
		Nodes: []Node{{"a", prefixes("10.244.0.0/24"), addresses("192.168.9.1")}, {"b", prefixes("10.244.1.0/24"), addresses("192.168.9.2")}},
		Pods:  []Pod{{"x/web", addresses("10.244.0.2"), []HostPort{{"TCP", netip.Addr{}, 7000, 8080}}}},
	}
	apply := func() {
		t.Helper()
		w.Node.In(t, func() error {
			s.Bridged = filterBridge()
			p, err := compile(s)
			return errors.Join(err, p.apply(conf, "cni0"))
		})
	}
	for range 2 { // the same again changes nothing
		apply()
	}
	for _, c := range []struct {
		name     string
		from     testnet.Space
		to, seen string
	}{
		{"what leaves the cluster has the node's address", w.Pod, "192.168.9.2:80", "192.168.9.1"},
		{"pods see each other", w.Other, "10.244.0.2:8080", "10.244.0.3"},
		{"a host port from outside, by the caller's own address", w.Outside, "192.168.9.1:7000", "192.168.9.2"},
		{"from the node", w.Node, "192.168.9.1:7000", ""},
		{"from the node's loopback", w.Node, "127.0.0.1:7000", "10.244.0.1"},
		{"from another pod", w.Other, "192.168.9.1:7000", ""},
		{"from itself", w.Pod, "192.168.9.1:7000", "10.244.0.1"},
	} {
		if seen, err := testnet.Call(c.from, "", c.to); err != nil || c.seen != "" && strings.TrimSpace(seen) != c.seen {
			t.Errorf("%s: seen as %q, %v", c.name, seen, err)
		}
	}
	if text, err := os.ReadFile(conf); err != nil || !strings.Contains(string(text), `"10.244.0.0/24"`) {
		t.Errorf("configuration %s, %v", text, err)
	}
	if got := routesOf(t, w.Node); got != "10.244.1.0/24 192.168.9.2" {
		t.Errorf("routes %q", got)
	}
	// Another node comes at another address, the pod goes.
	s.Nodes[1] = Node{"c", prefixes("10.244.2.0/24"), addresses("192.168.9.3")}
	s.Pods = nil
	apply()
	if got := routesOf(t, w.Node); got != "10.244.2.0/24 192.168.9.3" {
		t.Errorf("routes %q", got)
	}
	if seen, err := testnet.Call(w.Outside, "", "192.168.9.1:7000"); err == nil {
		t.Errorf("the host port of a pod that is gone answers: %s", seen)
	}
	w.Node.In(t, cleanup)
	if got := routesOf(t, w.Node); got != "" {
		t.Errorf("routes %q", got)
	}
	w.Node.In(t, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		if tables, err := c.ListTables(); err != nil || len(tables) > 0 {
			return fmt.Errorf("%d tables are left, %v", len(tables), err)
		}
		return nil
	})
}

func routesOf(t *testing.T, h testnet.Space) string {
	t.Helper()
	var out []string
	h.In(t, func() error {
		all, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
		for i := range all {
			out = append(out, fmt.Sprint(all[i].Dst, " ", all[i].Gw))
		}
		return err
	})
	return strings.Join(out, "\n")
}
