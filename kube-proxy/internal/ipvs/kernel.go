package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link has the addresses of services: what comes for them is the node's, and
// so comes to IPVS. It is down, and nothing is sent by it.
const Link = "kube-ipvs0"

// linux is the kernel of the network namespace it was opened in.
type linux struct {
	ipvs *ipvs.Handle
	net  *netlink.Handle
	link netlink.Link
}

// dial opens what is there, without a link if there is none.
func dial() (*linux, error) {
	k := &linux{}
	var err error
	if k.net, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open a netlink socket for addresses: %w", err)
	}
	if k.ipvs, err = ipvs.New(""); err != nil {
		k.net.Close()
		return nil, fmt.Errorf("open a netlink socket to IPVS: %w", err)
	}
	k.link, err = k.net.LinkByName(Link)
	var missing netlink.LinkNotFoundError
	if err != nil && !errors.As(err, &missing) {
		return nil, errors.Join(fmt.Errorf("look for the link %s: %w", Link, err), k.Close())
	}
	return k, nil
}

// open makes the link, and checks that there is a scheduler.
func open(o *Options) (*linux, error) {
	k, err := dial()
	if err != nil {
		return nil, err
	}
	if err := k.setUp(o); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

func (k *linux) setUp(o *Options) error {
	if k.link == nil {
		dummy := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: Link}}
		if err := k.net.LinkAdd(dummy); err != nil {
			return fmt.Errorf("mode ipvs: make the link %s: %w (it needs the kernel module dummy: modprobe dummy)", Link, err)
		}
		k.link = dummy
	}
	if o.TCP > 0 || o.TCPFin > 0 || o.UDP > 0 {
		if err := k.ipvs.SetConfig(&ipvs.Config{TimeoutTCP: o.TCP, TimeoutTCPFin: o.TCPFin, TimeoutUDP: o.UDP}); err != nil {
			return fmt.Errorf("mode ipvs: set timeouts: %w", err)
		}
	}
	if err := k.try(o.Scheduler); err != nil {
		return fmt.Errorf("mode ipvs: scheduler %q: %w (load it: modprobe ip_vs_%s; or set ipvs.scheduler to another, such as rr)", o.Scheduler, err, o.Scheduler)
	}
	return nil
}

// try makes a virtual server that nothing comes to.
func (k *linux) try(scheduler string) error {
	probe := &ipvs.Service{FWMark: markTag | markMask>>8, AddressFamily: unix.AF_INET, SchedName: scheduler, Netmask: 0xffffffff}
	if err := k.ipvs.NewService(probe); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return errors.New("the kernel has not got it")
		}
		return err
	}
	return k.ipvs.DelService(probe)
}

// Close gives the sockets back.
func (k *linux) Close() error {
	k.ipvs.Close()
	k.net.Close()
	return nil
}

// Flags of virtual servers: IP_VS_SVC_F_PERSISTENT and _SCHED1.
const (
	persistent = 1
	// fallback has schedulers by address take another server where the one of
	// a client's address drains: it would be refused.
	fallback = 8
)

func service(key Key, scheduler string, persist uint32) *ipvs.Service {
	s := &ipvs.Service{Protocol: uint16(key.Protocol), Port: key.Port, FWMark: key.Mark, SchedName: scheduler, AddressFamily: unix.AF_INET6, Netmask: 128}
	if key.V4 {
		s.AddressFamily, s.Netmask = unix.AF_INET, 0xffffffff
	}
	if key.Mark == 0 {
		s.Address = key.Addr.AsSlice()
	}
	if scheduler == sourceHash || scheduler == "mh" {
		s.Flags = fallback
	}
	if persist > 0 {
		s.Flags |= persistent
		s.Timeout = persist
	}
	return s
}

// Do implements kernel.
func (k *linux) Do(o op) error {
	s := service(o.key, o.scheduler, o.persist)
	d := &ipvs.Destination{Port: o.server.Port(), Weight: o.weight, ConnectionFlags: ipvs.ConnFwdMasq}
	if o.server.IsValid() {
		d.Address = o.server.Addr().AsSlice()
	}
	switch o.verb {
	case addVirtual:
		return k.ipvs.NewService(s)
	case setVirtual:
		return k.ipvs.UpdateService(s)
	case dropVirtual:
		return k.ipvs.DelService(s)
	case addServer:
		return k.ipvs.NewDestination(s, d)
	case weigh:
		return k.ipvs.UpdateDestination(s, d)
	}
	return k.ipvs.DelDestination(s, d)
}

// Virtuals implements kernel.
func (k *linux) Virtuals() (map[Key]*Held, error) {
	all, err := k.ipvs.GetServices()
	if err != nil {
		return nil, fmt.Errorf("list IPVS' virtual servers: %w", err)
	}
	out := make(map[Key]*Held, len(all))
	for _, s := range all {
		key := Key{Port: s.Port, Protocol: uint8(s.Protocol), Mark: s.FWMark, V4: s.AddressFamily == unix.AF_INET}
		if key.Mark != 0 {
			key = Key{Mark: key.Mark, V4: key.V4}
		} else if key.Addr, _ = netip.AddrFromSlice(s.Address); !key.Addr.IsValid() {
			continue
		}
		h := &Held{Scheduler: s.SchedName, Servers: map[netip.AddrPort]int{}}
		if s.Flags&persistent != 0 {
			h.Persist = s.Timeout
		}
		servers, err := k.ipvs.GetDestinations(service(key, h.Scheduler, h.Persist))
		if err != nil {
			return nil, fmt.Errorf("list the real servers of %s: %w", key, err)
		}
		for _, d := range servers {
			h.Servers[endpoint(d)] = d.Weight
		}
		out[key] = h
	}
	return out, nil
}

func endpoint(d *ipvs.Destination) netip.AddrPort {
	a, _ := netip.AddrFromSlice(d.Address) // four or sixteen bytes
	return netip.AddrPortFrom(a, d.Port)
}

// Connections implements kernel.
func (k *linux) Connections(key Key) (map[netip.AddrPort]int, error) {
	servers, err := k.ipvs.GetDestinations(service(key, "", 0))
	if err != nil {
		return nil, err
	}
	out := make(map[netip.AddrPort]int, len(servers))
	for _, d := range servers {
		out[endpoint(d)] = d.ActiveConnections + d.InactiveConnections
	}
	return out, nil
}

// list gives the addresses of a link, nil for all. A list that addresses
// changed under is asked for again.
func (k *linux) list(l netlink.Link) (out []netlink.Addr, err error) {
	for range 20 {
		out, err = k.net.AddrList(l, netlink.FAMILY_ALL)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return out, err
}

// Addresses implements kernel.
func (k *linux) Addresses() (map[netip.Addr]bool, error) {
	out := map[netip.Addr]bool{}
	all, err := k.list(k.link)
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", Link, err)
	}
	for i := range all {
		if a, ok := netip.AddrFromSlice(all[i].IP); ok && !a.Unmap().IsLinkLocalUnicast() {
			out[a.Unmap()] = true
		}
	}
	return out, nil
}

// NodeAddresses implements kernel.
func (k *linux) NodeAddresses() (map[netip.Addr]bool, error) {
	all, err := k.list(nil)
	if err != nil {
		return nil, fmt.Errorf("addresses of the node: %w", err)
	}
	out := map[netip.Addr]bool{}
	for i := range all {
		// Each pod's link has an address of its own kind.
		if a, ok := netip.AddrFromSlice(all[i].IP); ok && all[i].LinkIndex != k.link.Attrs().Index && !a.Unmap().IsLinkLocalUnicast() {
			out[a.Unmap()] = true
		}
	}
	return out, nil
}

func address(a netip.Addr) *netlink.Addr {
	out := &netlink.Addr{IPNet: netlink.NewIPNet(a.AsSlice())}
	if a.Is4() {
		// Nothing that leaves the node shall come from it.
		out.Scope = unix.RT_SCOPE_HOST
	} else {
		out.Flags = unix.IFA_F_NODAD
	}
	return out
}

// Bind implements kernel.
func (k *linux) Bind(a netip.Addr) error {
	if err := k.net.AddrAdd(k.link, address(a)); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// Unbind implements kernel.
func (k *linux) Unbind(a netip.Addr) error {
	if err := k.net.AddrDel(k.link, address(a)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return err
	}
	return nil
}

// removeLink takes the link away, with its addresses.
func (k *linux) removeLink() error {
	if k.link == nil {
		return nil
	}
	return k.net.LinkDel(k.link)
}

// probeTimeout bounds modprobe(8).
const probeTimeout = 10 * time.Second
