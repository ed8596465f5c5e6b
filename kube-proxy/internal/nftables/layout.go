package nftables

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// tableName is ours alone, in each family.
const tableName = "kube-proxy"

// Names of sets and maps.
type setID uint8

const (
	// Where a frontend's traffic goes, by who asks: outside ones are asked
	// first, by clients that are neither pods nor the node.
	setServices setID = iota
	setServicesOutside
	setNodePorts
	setNodePortsOutside
	// The frontends' pools, one map beside each of the four above.
	setPools
	setPoolsOutside
	setNodePools
	setNodePoolsOutside
	// Frontends without endpoints: reject or drop.
	setNone
	setNoneOutside
	setNodeNone
	setNodeNoneOutside
	// The chain of each sort of route. Frontends name a sort: were they to name
	// the chain, the kernel would look at all of them after each change.
	setRoutes
	setEndpoints // (pool, index) → endpoint
	// Pools with affinity have one more step: (pool, index) → number, and
	// number → endpoint. Numbers are never used again, so that what a client
	// is remembered to have had is there or gone.
	setStaySlots
	setStayEndpoints
	setClusterIPs // that we know, whatever the port
	setHairpin    // (endpoint, endpoint) of this node
	setRestricted // frontends with source ranges
	setSources    // and the sources that they let in
	// Beside IPVS: whose source is replaced, by frontend, and the marks that
	// lead clients inside the cluster to endpoints of their own.
	setWays
	setNodeWays
	setMarks
	setNodeMarks
	setGuarded // addresses that nothing but services is reached at
	sets
	setAffinity // (pool, client) → number; the kernel's own
	setCount
)

var setNames = [...]string{
	"services", "services-outside", "nodeports", "nodeports-outside",
	"pools", "pools-outside", "nodeport-pools", "nodeport-pools-outside",
	"none", "none-outside", "nodeport-none", "nodeport-none-outside", "routes",
	"endpoints", "affinity-slots", "affinity-endpoints", "cluster-ips", "hairpin", "restricted", "sources",
	"ways", "nodeport-ways", "marks", "nodeport-marks", "guarded", "", "affinity",
}

// beside tells of a set whether it is there beside IPVS, or in a table that
// does all itself.
func (s setID) beside(ipvs bool) bool {
	switch s {
	case setNone, setNoneOutside, setNodeNone, setNodeNoneOutside, setClusterIPs, setGuarded, setHairpin, setRestricted, setSources:
		return true
	case setWays, setNodeWays, setMarks, setNodeMarks:
		return ipvs
	}
	return !ipvs
}

// side is one of the four ways to be asked.
type side uint8

const (
	inside side = iota
	outside
	nodeInside
	nodeOutside
)

func (s side) services() setID { return setServices + setID(s) }
func (s side) pools() setID    { return setPools + setID(s) }
func (s side) none() setID     { return setNone + setID(s) }
func (s side) node() bool      { return s >= nodeInside }
func (s side) outer() side     { return s + 1 } // of inside and nodeInside

// Types of nft(8), for people who list our table.
const (
	typeAddr4    = 7
	typeAddr6    = 8
	typeProtocol = 12
	typePort     = 13
	typeMark     = 19
	typeVerdict  = 0xffffff00
)

// field of a key.
type field struct{ typ, size uint32 }

// padded is the field's size in registers, in bytes.
func (f field) padded() uint32 { return (f.size + 3) &^ 3 }

// family is IPv4 or IPv6: where its values lie in packets and registers.
type family struct {
	v4     bool
	number uint8 // NFPROTO_*
	addr   field
	words  uint32 // of an address
	source uint32 // its offset in the IP header
	dest   uint32
	// pool is the register of 32 bits for a pool, with an index or the
	// client's address after it. Keys are at reg0, and what is found in the
	// end: the endpoint's address and port.
	pool uint32
}

const reg0 = unix.NFT_REG32_00

var (
	ipv4 = &family{v4: true, number: unix.NFPROTO_IPV4, addr: field{typeAddr4, 4}, words: 1, source: 12, dest: 16, pool: reg0 + 3}
	ipv6 = &family{number: unix.NFPROTO_IPV6, addr: field{typeAddr6, 16}, words: 4, source: 8, dest: 24, pool: reg0 + 6}
)

var (
	fieldProtocol = field{typeProtocol, 1}
	fieldPort     = field{typePort, 2}
	fieldMark     = field{typeMark, 4}
)

// key of a set.
func (f *family) key(s setID) []field {
	switch s {
	case setNodePorts, setNodePortsOutside, setNodePools, setNodePoolsOutside, setNodeNone, setNodeNoneOutside, setNodeWays, setNodeMarks:
		return []field{fieldProtocol, fieldPort}
	case setEndpoints, setStaySlots:
		return []field{fieldMark, fieldMark}
	case setStayEndpoints, setRoutes:
		return []field{fieldMark}
	case setAffinity:
		return []field{fieldMark, f.addr}
	case setClusterIPs, setGuarded:
		return []field{f.addr}
	case setHairpin:
		return []field{f.addr, f.addr}
	case setSources:
		return []field{f.addr, fieldProtocol, fieldPort, f.addr}
	}
	return []field{f.addr, fieldProtocol, fieldPort}
}

// data of a map; nil for sets.
func (f *family) data(s setID) []field {
	switch {
	case s >= setNone && s < setEndpoints, s == setWays, s == setNodeWays, s == setGuarded:
		return []field{{typeVerdict, 0}}
	case s < setNone, s == setStaySlots, s == setAffinity, s == setMarks, s == setNodeMarks:
		return []field{fieldMark}
	case s == setEndpoints || s == setStayEndpoints:
		return []field{f.addr, fieldPort}
	}
	return nil
}

func sizeOf(fields []field) (n uint32) {
	for _, f := range fields {
		n += f.padded()
	}
	return n
}

// typeOf joins types as nft(8) does, six bits each.
func typeOf(fields []field) (t uint32) {
	for _, f := range fields {
		t = t<<6 | f.typ
	}
	return t
}

// Values as registers hold them.

func appendPort(b []byte, port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(b, port), 0, 0)
}

func appendNumber(b []byte, n uint32) []byte { return binary.NativeEndian.AppendUint32(b, n) }

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		x := a.As4()
		return append(b, x[:]...)
	}
	x := a.As16()
	return append(b, x[:]...)
}

func frontendKey(a netip.Addr, protocol uint8, port uint16) string {
	return string(appendPort(append(appendAddr(make([]byte, 0, 24), a), protocol, 0, 0, 0), port))
}

func nodePortKey(protocol uint8, port uint16) string {
	return string(appendPort([]byte{protocol, 0, 0, 0}, port))
}

func number(n uint32) string { return string(appendNumber(nil, n)) }

func slotKey(pool, index uint32) string {
	return string(appendNumber(appendNumber(make([]byte, 0, 8), pool), index))
}

func endpointData(a compile.Endpoint) string {
	return string(appendPort(appendAddr(make([]byte, 0, 20), a.Addr()), a.Port()))
}
