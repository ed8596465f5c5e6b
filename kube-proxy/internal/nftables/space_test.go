package nftables

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// space makes a network namespace.
func space(t testing.TB) netns.NsHandle {
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

func in(t testing.TB, h netns.NsHandle, f func() error) {
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

func address(name string, cidrs ...string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, cidr := range cidrs {
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		a.Flags = 0x02 // without detection of duplicates, which takes a second
		if err := netlink.AddrAdd(l, a); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

func viaRoute(dst, via string) error {
	_, network, err := net.ParseCIDR(dst)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: network, Gw: net.ParseIP(via)})
}

// world is a node with two pods on a bridge, and a host outside with two
// addresses.
//
//	pod 10.244.0.2   other 10.244.0.3   outside 192.168.9.2, .3
//	fd44::2          fd44::3            fd09::2
type world struct {
	node, pod, other, outside netns.NsHandle
	proxy                     *Proxy
}

func newWorld(t testing.TB, o Options) *world {
	t.Helper()
	w := &world{node: space(t), pod: space(t), other: space(t), outside: space(t)}
	in(t, w.node, func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cni0"}}
		if err := errors.Join(netlink.LinkAdd(bridge), address("cni0", "10.244.0.1/24", "fd44::1/64")); err != nil {
			return err
		}
		for i, pod := range []netns.NsHandle{w.pod, w.other} {
			name := fmt.Sprint("veth", i)
			veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: bridge.Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(pod)}
			if err := errors.Join(netlink.LinkAdd(veth), netlink.LinkSetHairpin(veth, true), up(name)); err != nil {
				return err
			}
		}
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(w.outside)}
		if err := errors.Join(netlink.LinkAdd(veth), address("eth0", "192.168.9.1/24", "fd09::1/64"), viaRoute("0.0.0.0/0", "192.168.9.2"), viaRoute("::/0", "fd09::2")); err != nil {
			return err
		}
		for file, v := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "bridge/bridge-nf-call-iptables": "1", "bridge/bridge-nf-call-ip6tables": "1"} {
			if err := os.WriteFile("/proc/sys/net/"+file, []byte(v), 0o644); err != nil {
				return err
			}
		}
		var err error
		w.proxy, err = New(o)
		return err
	})
	t.Cleanup(func() { _ = w.proxy.Close() })
	for i, pod := range []netns.NsHandle{w.pod, w.other} {
		in(t, pod, func() error {
			return errors.Join(address("eth0", fmt.Sprintf("10.244.0.%d/24", i+2), fmt.Sprintf("fd44::%d/64", i+2)), viaRoute("0.0.0.0/0", "10.244.0.1"), viaRoute("::/0", "fd44::1"))
		})
	}
	in(t, w.outside, func() error {
		return errors.Join(address("eth0", "192.168.9.2/24", "192.168.9.3/24", "fd09::2/64"), viaRoute("0.0.0.0/0", "192.168.9.1"), viaRoute("::/0", "fd09::1"))
	})
	return w
}

// serve answers each connection with a name and the caller's address, and
// counts them.
func serve(t testing.TB, h netns.NsHandle, name, at string) *atomic.Int64 {
	t.Helper()
	var l net.Listener
	in(t, h, func() (err error) { l, err = net.Listen("tcp", at); return err })
	t.Cleanup(func() { l.Close() })
	n := &atomic.Int64{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			fmt.Fprint(c, name, " ", c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
	return n
}

// call says who answered and whom it saw; from is the own address, or empty.
func call(h netns.NsHandle, from, to string) (seen string, err error) {
	err = try(h, func() error {
		d := net.Dialer{Timeout: 2 * time.Second}
		if from != "" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
		c, err := d.Dial("tcp", to)
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

// who answers, of "web 10.0.0.1".
func who(seen string) string {
	name, _, _ := strings.Cut(seen, " ")
	return name
}

func (w *world) space(name string) netns.NsHandle {
	return map[string]netns.NsHandle{"node": w.node, "pod": w.pod, "other": w.other, "outside": w.outside}[name]
}

// meet makes IPv6 neighbours know each other: the bridge loses the first
// packet that it translates to one that the node does not know.
func (w *world) meet(t testing.TB) {
	t.Helper()
	in(t, w.node, func() error {
		for i, pod := range []netns.NsHandle{w.pod, w.other} {
			at := fmt.Sprintf("[fd44::%d]:9999", i+2)
			serve(t, pod, "", ":9999")
			c, err := net.DialTimeout("tcp", at, 20*time.Second)
			if err != nil {
				return err
			}
			c.Close()
		}
		return nil
	})
}
