// Package testnet makes network namespaces for tests: a node with pods and a
// host outside, servers in them and calls between them.
package testnet

import (
	"errors"
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Space is a network namespace; it goes with the test.
type Space struct{ Handle netns.NsHandle }

// NewSpace makes one with its loopback up.
func NewSpace(t testing.TB) Space {
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
			err = Up("lo")
		}
		out <- made{h, err}
	}()
	m := <-out
	if m.err != nil {
		t.Fatalf("make a network namespace (needs root): %v", m.err)
	}
	t.Cleanup(func() { m.h.Close() })
	return Space{m.h}
}

// In runs f in the namespace, on a thread of its own; the test ends when f
// fails.
func (s Space) In(t testing.TB, f func() error) {
	t.Helper()
	if err := s.Try(f); err != nil {
		t.Fatal(err)
	}
}

// Try runs f in the namespace, on a thread of its own.
func (s Space) Try(f func() error) error {
	out := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(s.Handle); err != nil {
			out <- err
			return
		}
		out <- f()
	}()
	return <-out
}

// Up sets a link up.
func Up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// Address gives a link addresses and sets it up.
func Address(name string, cidrs ...string) error {
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

// Route leads to a network.
func Route(dst, via string) error {
	_, network, err := net.ParseCIDR(dst)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: network, Gw: net.ParseIP(via)})
}

// Link joins two namespaces: name here, peer there. It is a port of the
// bridge, if there is one.
func Link(name, peer string, there Space, bridge *netlink.Bridge) error {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer, PeerNamespace: netlink.NsFd(there.Handle)}
	if bridge == nil {
		return netlink.LinkAdd(veth)
	}
	veth.MasterIndex = bridge.Index
	return errors.Join(netlink.LinkAdd(veth), netlink.LinkSetHairpin(veth, true), Up(name))
}
