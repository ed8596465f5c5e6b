package nftables

import (
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// Beside is IPVS, to a table beside it.
type Beside interface {
	// Mark is the packet mark of the virtual server for clients inside the
	// cluster, for a frontend that has endpoints of their own for them; 0 for
	// none. It does not change while the frontend is there.
	Mark(f *compile.Frontend) uint32
	// Bound tells of the address of a frontend that nothing else of the node's
	// is at it.
	Bound(a netip.Addr) bool
}

// NewGuard makes a Proxy that stands beside IPVS and does what IPVS does not:
// it refuses where there are no endpoints, keeps to source ranges, has sources
// replaced, and leads clients inside the cluster to their endpoints. IPVS
// translates. The table has the name of the one that does all itself, and so
// replaces it.
func NewGuard(o Options, ipvs Beside) (*Proxy, error) {
	p, err := New(o)
	if err != nil {
		return nil, err
	}
	p.ipvs = ipvs
	for _, t := range p.tables {
		t.ipvs = ipvs
	}
	return p, nil
}

// Chains that are there beside IPVS alone.
const (
	chainInside = "inside"
	chainWays   = "nodeport-ways"
	chainMarks  = "nodeport-marks"
	chainAlways = "masquerade-always"
)

// beside renders what IPVS needs for a frontend.
func (r *rendering) beside(at side, key string, f *compile.Frontend) {
	ways, marks := setWays, setMarks
	if at.node() {
		ways, marks = setNodeWays, setNodeMarks
	}
	// A frontend is there though nothing is replaced: what is not there is
	// refused at the addresses of services.
	way := item{set: ways, key: key, code: accept}
	switch {
	case f.Outside != nil: // pods and whoever is outside keep their address
	case f.Pool.Masquerade == compile.Always:
		way.code, way.chain = goTo, chainAlways
	case f.Pool.Masquerade == compile.OffCluster:
		way.code, way.chain = goTo, chainOffCluster
	}
	r.now.items = append(r.now.items, way)
	if mark := r.t.ipvs.Mark(f); mark != 0 {
		r.now.items = append(r.now.items, item{set: marks, key: key, pool: mark})
	}
}

// guard makes all of a table beside IPVS but what depends on services and
// addresses, in place of what there is.
func (f *family) guard(b *batch, o *Options) error {
	b.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE) // so that removing it can't fail
	b.table(unix.NFT_MSG_DELTABLE, 0)
	b.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE)
	w := &writer{b: b, f: f, o: o, ipvs: true}
	w.sets(true)
	w.chains(chainInside, chainWays, chainMarks, chainAlways)
	w.early("prerouting", unix.NF_INET_PRE_ROUTING)
	w.insiders("filter-prerouting", unix.NFT_GOTO, chainInside)
	w.early("output", unix.NF_INET_LOCAL_OUT)
	w.rule("filter-output", jump(chainInside))
	w.rule("filter-output", w.f.frontend(), lookupVerdict(setWays))
	w.rule("filter-output", jump("node-addresses"))
	w.refusals()
	w.invalid()
	w.rule(chainInside, w.f.frontend(), marked(setMarks))
	w.rule(chainInside, jump("marks-node-addresses"))
	w.rule(chainMarks, nodePort(), marked(setNodeMarks))
	w.rule(chainWays, nodePort(), lookupVerdict(setNodeWays))
	w.rule(chainAlways, w.mark())
	w.input()
	w.keep("nat-prerouting", unix.NF_INET_PRE_ROUTING)
	w.keep("nat-output", unix.NF_INET_LOCAL_OUT)
	w.masquerade()
	// The node's own packets to an address of a service come from that address:
	// it is one of the node's now.
	w.rule("nat-postrouting", w.f.client(reg0), lookup(setClusterIPs, reg0), exprs{&expr.Masq{FullyRandom: true}})
	return w.err
}

// input is passed before IPVS looks at what comes to the node. The addresses
// of services are the node's own: nothing but services may be reached at them.
// That is said by a map, not a set: a packet on its way through a table that is
// being replaced finds no map's elements any more, but all of a set's. It would
// be refused for want of the frontend that is there before and after.
func (w *writer) input() {
	const chain = "filter-input"
	w.b.baseChain(chain, "filter", unix.NF_INET_LOCAL_IN, 0)
	w.rule(chain, w.f.frontend(), lookupVerdict(setWays))
	w.rule(chain, jump("node-addresses"))
	ping := uint8(unix.IPPROTO_ICMPV6)
	if w.f.v4 {
		ping = unix.IPPROTO_ICMP
	}
	w.rule(chain, exprs{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg0, Data: []byte{ping}},
	}, stateOf(expr.CtStateBitNEW), w.f.destination(reg0), lookupVerdict(setGuarded))
}

// keep leaves what goes to services' addresses to IPVS: these are the node's
// own, and others translate what comes to the node, such as host ports of pods.
// A connection is translated once; here it is, to where it goes.
func (w *writer) keep(chain string, hook uint32) {
	w.b.baseChain(chain, "nat", hook, dnat-1)
	w.rule(chain, w.f.destination(reg0), lookup(setClusterIPs, reg0),
		exprs{&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(w.f.number), RegAddrMin: reg0}})
}

// marked gives a packet the mark that a map has for the key at reg0.
func marked(s setID) exprs {
	return join(lookupInto(s, reg0, reg0), exprs{&expr.Meta{Key: expr.MetaKeyMARK, Register: reg0, SourceRegister: true}})
}
