package podnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// space makes a network namespace and its end of links.
func space(t *testing.T) netns.NsHandle {
	t.Helper()
	type made struct {
		h   netns.NsHandle
		err error
	}
	out := make(chan made)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		h, err := netns.New()
		if err == nil {
			err = up("lo")
		}
		out <- made{h, err}
	}()
	m := <-out
	if m.err != nil {
		t.Fatalf("make a network namespace (needs root): %v", m.err)
	}
	t.Cleanup(func() { m.h.Close() })
	return m.h
}

func in(t *testing.T, h netns.NsHandle, f func() error) {
	t.Helper()
	if err := try(h, f); err != nil {
		t.Fatal(err)
	}
}

func try(h netns.NsHandle, f func() error) error {
	out := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(h); err != nil {
			out <- err
			return
		}
		out <- f()
	}()
	return <-out
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

func address(name, cidr string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
}

func defaultRoute(via string) error {
	return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(via)})
}

// world is a node with two pods on a bridge, and a host outside.
type world struct{ node, pod, other, outside netns.NsHandle }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{space(t), space(t), space(t), space(t)}
	in(t, w.node, func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cni0"}}
		if err := errors.Join(netlink.LinkAdd(bridge), address("cni0", "10.244.0.1/24")); err != nil {
			return err
		}
		for i, pod := range []netns.NsHandle{w.pod, w.other} {
			name := fmt.Sprint("veth", i)
			veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: bridge.Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(pod)}
			if err := netlink.LinkAdd(veth); err != nil {
				return err
			}
			if err := errors.Join(netlink.LinkSetHairpin(veth, true), up(name)); err != nil {
				return err
			}
		}
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(w.outside)}
		return errors.Join(netlink.LinkAdd(veth), address("eth0", "192.168.9.1/24"), os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644))
	})
	for i, pod := range []netns.NsHandle{w.pod, w.other} {
		in(t, pod, func() error {
			return errors.Join(address("eth0", fmt.Sprintf("10.244.0.%d/24", i+2)), defaultRoute("10.244.0.1"))
		})
	}
	in(t, w.outside, func() error { return address("eth0", "192.168.9.2/24") })
	return w
}

// serve answers each connection with the caller's address.
func serve(t *testing.T, h netns.NsHandle, at string) {
	t.Helper()
	var l net.Listener
	in(t, h, func() (err error) { l, err = net.Listen("tcp", at); return err })
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
}

// call says whom the server saw.
func call(h netns.NsHandle, to string) (seen string, err error) {
	err = try(h, func() error {
		c, err := net.DialTimeout("tcp", to, 3*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		text, err := io.ReadAll(c)
		seen = string(text)
		return err
	})
	return seen, err
}

func TestApply(t *testing.T) {
	w := newWorld(t)
	serve(t, w.pod, ":8080")
	serve(t, w.outside, ":80")
	conf := filepath.Join(t.TempDir(), "net.d", "10-xebec.conflist")
	s := &State{
		Node: "a", Bridge: "cni0", Cluster: prefixes("10.244.0.0/16"),
		Nodes: []Node{{"a", prefixes("10.244.0.0/24"), addresses("192.168.9.1")}, {"b", prefixes("10.244.1.0/24"), addresses("192.168.9.2")}},
		Pods:  []Pod{{"x/web", addresses("10.244.0.2"), []HostPort{{"TCP", netip.Addr{}, 7000, 8080}}}},
	}
	apply := func() {
		t.Helper()
		in(t, w.node, func() error {
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
		from     netns.NsHandle
		to, seen string
	}{
		{"what leaves the cluster has the node's address", w.pod, "192.168.9.2:80", "192.168.9.1"},
		{"pods see each other", w.other, "10.244.0.2:8080", "10.244.0.3"},
		{"a host port from outside, by the caller's own address", w.outside, "192.168.9.1:7000", "192.168.9.2"},
		{"from the node", w.node, "192.168.9.1:7000", ""},
		{"from the node's loopback", w.node, "127.0.0.1:7000", "10.244.0.1"},
		{"from another pod", w.other, "192.168.9.1:7000", ""},
		{"from itself", w.pod, "192.168.9.1:7000", "10.244.0.1"},
	} {
		if seen, err := call(c.from, c.to); err != nil || c.seen != "" && seen != c.seen {
			t.Errorf("%s: seen as %q, %v", c.name, seen, err)
		}
	}
	if text, err := os.ReadFile(conf); err != nil || !strings.Contains(string(text), `"10.244.0.0/24"`) {
		t.Errorf("configuration %s, %v", text, err)
	}
	if got := routesOf(t, w.node); got != "10.244.1.0/24 192.168.9.2" {
		t.Errorf("routes %q", got)
	}
	// Another node comes at another address, the pod goes.
	s.Nodes[1] = Node{"c", prefixes("10.244.2.0/24"), addresses("192.168.9.3")}
	s.Pods = nil
	apply()
	if got := routesOf(t, w.node); got != "10.244.2.0/24 192.168.9.3" {
		t.Errorf("routes %q", got)
	}
	if seen, err := call(w.outside, "192.168.9.1:7000"); err == nil {
		t.Errorf("the host port of a pod that is gone answers: %s", seen)
	}
	in(t, w.node, cleanup)
	if got := routesOf(t, w.node); got != "" {
		t.Errorf("routes %q", got)
	}
	in(t, w.node, func() error {
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

func routesOf(t *testing.T, h netns.NsHandle) string {
	t.Helper()
	var out []string
	in(t, h, func() error {
		all, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
		for i := range all {
			out = append(out, fmt.Sprint(all[i].Dst, " ", all[i].Gw))
		}
		return err
	})
	return strings.Join(out, "\n")
}
