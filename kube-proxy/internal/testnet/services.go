package testnet

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// Prefixes of texts.
func Prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// PoolOf endpoints; those of the node's pods are local.
func PoolOf(m compile.Masquerade, all ...string) compile.Pool {
	p := compile.Pool{Masquerade: m}
	local := Prefixes("10.244.0.0/24", "fd44::/64")
	for _, a := range all {
		at := netip.MustParseAddrPort(a)
		p.Backends = append(p.Backends, compile.Backend{Endpoint: compile.EndpointOf(at), Local: local[0].Contains(at.Addr()) || local[1].Contains(at.Addr())})
	}
	return p
}

// Frontend at an address and port, over TCP.
func Frontend(kind compile.Kind, at string, p compile.Pool) compile.Frontend {
	a := netip.MustParseAddrPort(at)
	f := compile.Frontend{Kind: kind, Addr: a.Addr(), Protocol: unix.IPPROTO_TCP, Port: a.Port(), V4: a.Addr().Is4(), Pool: p}
	if kind == compile.NodePort {
		f.Addr = netip.Addr{}
	}
	return f
}

// Service of frontends. Those that differ in what one port of a service has in
// common are of ports with other names.
func Service(name string, all ...compile.Frontend) *compile.Service {
	s := &compile.Service{Name: name, Frontends: all}
	ports := map[string]bool{}
	for i := range all {
		f := &all[i]
		if f.PortName == "" {
			f.PortName = portOf(f)
			ports[f.PortName] = true
		}
	}
	if len(ports) == 1 {
		for i := range all {
			all[i].PortName = ""
		}
	}
	return s
}

func portOf(f *compile.Frontend) string {
	h := fnv.New32a()
	fmt.Fprint(h, f.Protocol, f.V4, f.Pool.Backends, f.Pool.Missing, f.Affinity, f.Sources)
	if f.Outside != nil {
		fmt.Fprint(h, f.Outside.Backends, f.Outside.Missing)
	}
	return fmt.Sprintf("p%x", h.Sum32())
}

// Full update of these services, with the node ports of World.
func Full(all ...*compile.Service) *compile.Update {
	u := &compile.Update{Full: true, NodePorts: Prefixes("192.168.9.1/32", "fd09::1/128")}
	for _, s := range all {
		u.Changes = append(u.Changes, compile.Change{Name: s.Name, New: s})
	}
	return u
}

// Change is an update of one service.
func Change(old, now *compile.Service) *compile.Update {
	u := Full()
	u.Full, u.Changes = false, []compile.Change{{Old: old, New: now}}
	if old != nil {
		u.Changes[0].Name = old.Name
	} else {
		u.Changes[0].Name = now.Name
	}
	return u
}
