package cni

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// linkName is the node's end of a pod's pair: the same for every call about
// the same interface, so that it is found again when the pod's namespace is
// gone.
func linkName(container, ifname string) string {
	sum := sha256.Sum256([]byte(owner(container, ifname)))
	return "veth" + hex.EncodeToString(sum[:])[:8]
}

// hardware is an address made of the IP: whoever has the IP next has the same
// one, so no neighbour's table goes stale.
func hardware(a netip.Addr) net.HardwareAddr {
	if a.Is4() {
		b := a.As4()
		return net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}
	}
	b := a.As16()
	return net.HardwareAddr{0x0a, 0x58, b[12], b[13], b[14], b[15]}
}

func ipNet(a netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}
}

// ensureBridge makes the bridge and gives it the gateways' addresses. Calls
// race: what exists already is what was wanted.
func ensureBridge(c *Config) (*netlink.Bridge, error) {
	link, err := netlink.LinkByName(c.Bridge)
	if isNotFound(err) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = c.Bridge, c.MTU, hardware(gateway(c.networks[0]))
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("make bridge %s: %w", c.Bridge, err)
		}
		link, err = netlink.LinkByName(c.Bridge)
	}
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", c.Bridge, err)
	}
	bridge, ok := link.(*netlink.Bridge)
	if !ok {
		return nil, fmt.Errorf("link %s is a %s: the plugin needs the name for a bridge", c.Bridge, link.Type())
	}
	for _, p := range c.networks {
		if err := addAddress(bridge, gateway(p), p.Bits()); err != nil {
			return nil, err
		}
		if err := forward(p.Addr().Is4()); err != nil {
			return nil, err
		}
	}
	if bridge.Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(bridge); err != nil {
			return nil, fmt.Errorf("bridge %s up: %w", c.Bridge, err)
		}
	}
	return bridge, nil
}

func addAddress(link netlink.Link, a netip.Addr, bits int) error {
	addr := &netlink.Addr{IPNet: ipNet(a, bits)}
	if a.Is6() {
		addr.Flags = unix.IFA_F_NODAD // nobody else has it: waiting for an answer costs seconds
	}
	if err := netlink.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("address %s of %s: %w", a, link.Attrs().Name, err)
	}
	return nil
}

func forward(v4 bool) error {
	file := "/proc/sys/net/ipv6/conf/all/forwarding"
	if v4 {
		file = "/proc/sys/net/ipv4/ip_forward"
	}
	if text, err := os.ReadFile(file); err == nil && len(text) > 0 && text[0] != '0' {
		return nil
	}
	if err := os.WriteFile(file, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forwarding between pods and other nodes: %w", err)
	}
	return nil
}

// join makes the pair, with one end in the pod under the name it is to have.
func join(c *Config, bridge *netlink.Bridge, name, ifname string, pod netns.NsHandle, addrs []netip.Addr) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = name, c.MTU, bridge.Index
	if attrs.MTU == 0 {
		attrs.MTU = bridge.MTU
	}
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: ifname, PeerMTU: uint32(attrs.MTU),
		PeerNamespace: netlink.NsFd(pod), PeerHardwareAddr: hardware(addrs[0]),
	}
	// An earlier call about the same interface may have got this far.
	if err := unlink(name); err != nil {
		return nil, err
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("make %s and the pod's %s: %w", name, ifname, err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	// A pod reaches itself through a Service only when the bridge sends a
	// packet back where it came from.
	if err := netlink.LinkSetHairpin(link, true); err != nil {
		return nil, fmt.Errorf("hairpin of %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("%s up: %w", name, err)
	}
	return link, nil
}

// furnish sets up the pod's end.
func furnish(c *Config, pod netns.NsHandle, ifname string, addrs []netip.Addr) (netlink.Link, error) {
	inside, err := netlink.NewHandleAt(pod)
	if err != nil {
		return nil, err
	}
	defer inside.Close()
	if lo, err := inside.LinkByName("lo"); err == nil {
		if err := inside.LinkSetUp(lo); err != nil {
			return nil, fmt.Errorf("the pod's lo up: %w", err)
		}
	}
	link, err := inside.LinkByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("the pod's %s: %w", ifname, err)
	}
	for i, a := range addrs {
		addr := &netlink.Addr{IPNet: ipNet(a, c.networks[i].Bits())}
		if a.Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := inside.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("address %s of the pod's %s: %w", a, ifname, err)
		}
	}
	if err := inside.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("the pod's %s up: %w", ifname, err)
	}
	for i, a := range addrs {
		via := gateway(c.networks[i])
		all := &net.IPNet{IP: make(net.IP, a.BitLen()/8), Mask: net.CIDRMask(0, a.BitLen())}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: all, Gw: via.AsSlice()}
		if err := inside.RouteReplace(route); err != nil {
			return nil, fmt.Errorf("the pod's route by %s: %w", via, err)
		}
	}
	return link, nil
}

func unlink(name string) error {
	link, err := netlink.LinkByName(name)
	if isNotFound(err) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

func isNotFound(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing)
}
