package podnet

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeProtocol marks our routes, so that those of nodes that are gone can be
// told from the administrator's.
const routeProtocol = 88

// apply makes the node as planned. All is tried; the errors are told
// together.
func (p *Plan) apply(confFile, bridge string) error {
	err := errors.Join(p.applyRoutes(), applyRules(&p.V4, true))
	if _, statErr := os.Stat("/proc/sys/net/ipv6"); statErr == nil {
		err = errors.Join(err, applyRules(&p.V6, false))
	}
	// A pod that starts finds everything there: the configuration is last.
	if err == nil && p.Conf != nil && confFile != "" {
		err = replaceFile(confFile, p.Conf)
	}
	return errors.Join(err, loopbackPorts(bridge, len(p.V4.Ports) > 0))
}

// loopbackPorts lets the node's own 127.0.0.1 reach host ports; table rules
// keep others out. The bridge exists once there is a pod.
func loopbackPorts(bridge string, wanted bool) error {
	file := filepath.Join("/proc/sys/net/ipv4/conf", bridge, "route_localnet")
	was, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!wanted || bytes.HasPrefix(was, []byte("1"))) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(file, []byte("1"), 0o644)
	}
	return err
}

func replaceFile(name string, text []byte) error {
	if was, err := os.ReadFile(name); err == nil && bytes.Equal(was, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	// The runtime watches the directory and reads *.conflist: not this name.
	temp := name + ".new"
	if err := os.WriteFile(temp, text, 0o644); err != nil {
		return err
	}
	return os.Rename(temp, name)
}

func (p *Plan) applyRoutes() error {
	has, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	there := map[Route]bool{}
	wanted := map[netip.Prefix]bool{}
	for _, r := range p.Routes {
		wanted[r.To] = true
	}
	var errs []error
	for i := range has {
		r, ok := parseRoute(&has[i])
		if ok && wanted[r.To] {
			there[r] = true
			continue
		}
		if err := netlink.RouteDel(&has[i]); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove the route to %s: %w", has[i].Dst, err))
		}
	}
	for _, r := range p.Routes {
		if there[r] {
			continue
		}
		dst := &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), r.To.Addr().BitLen())}
		if err := netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: r.Via.AsSlice(), Protocol: routeProtocol}); err != nil {
			errs = append(errs, fmt.Errorf("route to the pods of %s by %s (nodes need a link of their own to each other): %w", r.To, r.Via, err))
		}
	}
	return errors.Join(errs...)
}

func parseRoute(r *netlink.Route) (Route, bool) {
	if r.Dst == nil {
		return Route{}, false
	}
	to, ok := netip.AddrFromSlice(r.Dst.IP)
	via, ok2 := netip.AddrFromSlice(r.Gw)
	bits, _ := r.Dst.Mask.Size()
	if !ok || !ok2 {
		return Route{}, false
	}
	// The library gives IPv4 in sixteen bytes at times.
	if len(r.Dst.Mask) == 4 || to.Is4In6() {
		to, via = to.Unmap(), via.Unmap()
	}
	return Route{netip.PrefixFrom(to, bits), via}, true
}

// cleanup removes all but the configuration, which pods that run still need
// to be deleted.
func cleanup() error {
	return errors.Join((&Plan{}).applyRoutes(), applyRules(&Rules{}, true), applyRules(&Rules{}, false))
}
