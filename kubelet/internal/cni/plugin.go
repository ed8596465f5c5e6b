package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Add joins a pod to the network. Whatever it had made before an error, the
// runtime's Del removes.
func Add(args *skel.CmdArgs) error {
	c, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	if err := c.needNetworks(); err != nil {
		return err
	}
	pod, err := netns.GetFromPath(args.Netns)
	if err != nil {
		return types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_NETNS: %s: %v", args.Netns, err), "")
	}
	defer pod.Close()
	addrs, err := reserve(c, owner(args.ContainerID, args.IfName))
	if err != nil {
		return err
	}
	bridge, err := ensureBridge(c)
	if err != nil {
		return err
	}
	host, err := join(c, bridge, linkName(args.ContainerID, args.IfName), args.IfName, pod, addrs)
	if err != nil {
		return err
	}
	inside, err := furnish(c, pod, args.IfName, addrs)
	if err != nil {
		return err
	}
	return types.PrintResult(result(c, args, bridge, host, inside, addrs), c.CNIVersion)
}

func reserve(c *Config, who string) ([]netip.Addr, error) {
	l, err := openLedger(c.StateDir, c.Name)
	if err != nil {
		return nil, err
	}
	defer l.close()
	return l.take(c.networks, who)
}

func result(c *Config, args *skel.CmdArgs, bridge, host, inside netlink.Link, addrs []netip.Addr) *current.Result {
	const podIndex = 2
	out := &current.Result{
		CNIVersion: current.ImplementedSpecVersion,
		Interfaces: []*current.Interface{
			{Name: bridge.Attrs().Name, Mac: bridge.Attrs().HardwareAddr.String(), Mtu: bridge.Attrs().MTU},
			{Name: host.Attrs().Name, Mac: host.Attrs().HardwareAddr.String(), Mtu: host.Attrs().MTU},
			{Name: args.IfName, Mac: inside.Attrs().HardwareAddr.String(), Mtu: inside.Attrs().MTU, Sandbox: args.Netns},
		},
		DNS: c.DNS,
	}
	for i, a := range addrs {
		via := gateway(c.networks[i])
		out.IPs = append(out.IPs, &current.IPConfig{Interface: current.Int(podIndex), Address: *ipNet(a, c.networks[i].Bits()), Gateway: via.AsSlice()})
		all := ipNet(netip.IPv6Unspecified(), 0)
		if a.Is4() {
			all = ipNet(netip.IPv4Unspecified(), 0)
		}
		out.Routes = append(out.Routes, &types.Route{Dst: *all, GW: via.AsSlice()})
	}
	return out
}

// Del undoes Add, as far as it got. What is gone already is no error.
func Del(args *skel.CmdArgs) error {
	c, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	// The link first: an address is free only when nobody answers for it.
	if err := unlink(linkName(args.ContainerID, args.IfName)); err != nil {
		return err
	}
	l, err := openLedger(c.StateDir, c.Name)
	if err != nil {
		return err
	}
	defer l.close()
	return l.release(owner(args.ContainerID, args.IfName))
}

// Check tells whether the pod still has what Add gave it.
func Check(args *skel.CmdArgs) error {
	c, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	if err := version.ParsePrevResult(&c.NetConf); err != nil {
		return err
	}
	prev, err := current.NewResultFromResult(c.PrevResult)
	if err != nil {
		return invalid("prevResult: %v", err)
	}
	if link, err := netlink.LinkByName(linkName(args.ContainerID, args.IfName)); err != nil {
		return fmt.Errorf("the node's end of the pod's link: %w", err)
	} else if link.Attrs().MasterIndex == 0 {
		return fmt.Errorf("%s is not joined to the bridge %s", link.Attrs().Name, c.Bridge)
	}
	pod, err := netns.GetFromPath(args.Netns)
	if err != nil {
		return err
	}
	defer pod.Close()
	inside, err := netlink.NewHandleAt(pod)
	if err != nil {
		return err
	}
	defer inside.Close()
	link, err := inside.LinkByName(args.IfName)
	if err != nil {
		return fmt.Errorf("the pod's %s: %w", args.IfName, err)
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return fmt.Errorf("the pod's %s is down", args.IfName)
	}
	has, err := inside.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, ip := range prev.IPs {
		if !slices.ContainsFunc(has, func(a netlink.Addr) bool { return a.IP.Equal(ip.Address.IP) }) {
			return fmt.Errorf("the pod's %s has lost its address %s", args.IfName, ip.Address.IP)
		}
	}
	return checkRoutes(inside, link, prev.Routes)
}

// checkRoutes tells which of the pod's routes is not there.
func checkRoutes(inside *netlink.Handle, link netlink.Link, want []*types.Route) error {
	has, err := inside.RouteList(link, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, r := range want {
		if !slices.ContainsFunc(has, func(h netlink.Route) bool { return h.Gw.Equal(r.GW) && sameNetwork(h.Dst, &r.Dst) }) {
			return fmt.Errorf("the pod's %s has lost its route to %s by %s", link.Attrs().Name, &r.Dst, r.GW)
		}
	}
	return nil
}

// sameNetwork compares destinations; the kernel may leave that of a default
// route away.
func sameNetwork(has, want *net.IPNet) bool {
	ones, _ := want.Mask.Size()
	if has == nil {
		return ones == 0
	}
	hasOnes, _ := has.Mask.Size()
	return hasOnes == ones && has.IP.Equal(want.IP)
}

// GC gives back the addresses, and removes the links, of what the runtime no
// longer knows.
func GC(args *skel.CmdArgs) error {
	c, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	valid := map[string]bool{}
	for _, a := range c.ValidAttachments {
		valid[owner(a.ContainerID, a.IfName)] = true
	}
	l, err := openLedger(c.StateDir, c.Name)
	if err != nil {
		return err
	}
	defer l.close()
	var errs []error
	gone := map[string]bool{}
	err = l.each(func(_ netip.Addr, who string) error {
		container, rest, _ := strings.Cut(who, "\n")
		if ifname, ok := strings.CutSuffix(rest, "\n"); ok && !valid[who] && !gone[who] {
			gone[who] = true
			errs = append(errs, unlink(linkName(container, ifname)))
		}
		return nil
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	return l.keep(func(who string) bool { return valid[who] })
}

// Status tells whether a pod could be joined now.
func Status(args *skel.CmdArgs) error {
	c, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	if err := c.needNetworks(); err != nil {
		return err
	}
	link, err := netlink.LinkByName(c.Bridge)
	if err == nil && link.Type() != "bridge" {
		return types.NewError(types.ErrPluginNotAvailable, fmt.Sprintf("link %s is a %s, not a bridge", c.Bridge, link.Type()), "")
	}
	if _, err := os.Stat("/proc/sys/net/ipv6"); errors.Is(err, fs.ErrNotExist) {
		for _, p := range c.networks {
			if p.Addr().Is6() {
				return types.NewError(types.ErrPluginNotAvailable, fmt.Sprintf("podCIDRs: %s: this kernel has no IPv6", p), "")
			}
		}
	}
	return nil
}
