package compile

import (
	"bytes"
	"cmp"
	"net/netip"
)

// Endpoint is an address and port, without the pointer that netip has for an
// address' zone: of 100,000 endpoints the garbage collector would follow each.
type Endpoint struct {
	addr [16]byte // IPv4 ones as IPv6 has them
	port uint16
}

// EndpointOf is a's. A zone is left out.
func EndpointOf(a netip.AddrPort) Endpoint { return Endpoint{a.Addr().As16(), a.Port()} }

// Addr is the address, without its port.
func (e Endpoint) Addr() netip.Addr { return netip.AddrFrom16(e.addr).Unmap() }

// Port is the port.
func (e Endpoint) Port() uint16 { return e.port }

// AddrPort is both.
func (e Endpoint) AddrPort() netip.AddrPort { return netip.AddrPortFrom(e.Addr(), e.port) }

func (e Endpoint) String() string { return e.AddrPort().String() }

// Compare orders by address, then by port.
func (e Endpoint) Compare(f Endpoint) int {
	return cmp.Or(bytes.Compare(e.addr[:], f.addr[:]), cmp.Compare(e.port, f.port))
}
