package nftables

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// Chains of which others go to.
const (
	chainServices     = "services"
	chainOutside      = "outside"
	chainNodePorts    = "nodeports"
	chainOutsidePorts = "outside-nodeports"
	chainNone         = "no-endpoints"
	chainNoneOutside  = "outside-no-endpoints"
	chainNonePorts    = "nodeport-no-endpoints"
	chainNonePortsOut = "outside-nodeport-no-endpoints"
	chainSources      = "source-ranges"
	chainReject       = "reject-service"
	chainOffCluster   = "masquerade-off-cluster"
)

// addressChains depend on the node's addresses: they are filled anew when
// those change.
func (w *writer) addressChains() []addressChain {
	none := []addressChain{{"none-node-addresses", chainNonePorts}, {"outside-none-node-addresses", chainNonePortsOut}}
	if w.ipvs {
		return append(none, addressChain{"node-addresses", chainWays}, addressChain{"marks-node-addresses", chainMarks})
	}
	return append(none, addressChain{"node-addresses", chainNodePorts}, addressChain{"outside-node-addresses", chainOutsidePorts})
}

// addressChain goes to another for packets to the node's addresses.
type addressChain struct{ name, to string }

// Priorities around the translation of destinations, at -100.
const (
	before = -110
	dnat   = -100
	after  = -90
	snat   = 100
)

// exprs are a rule, or a part of one.
type exprs []expr.Any

func join(parts ...exprs) (out exprs) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func (b *batch) rule(chain string, x exprs) error {
	m := b.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND)
	b.text(unix.NFTA_RULE_TABLE, tableName)
	b.text(unix.NFTA_RULE_CHAIN, chain)
	n := b.nest(unix.NFTA_RULE_EXPRESSIONS)
	for _, e := range x {
		raw, err := expr.Marshal(b.family, e)
		if err != nil {
			return fmt.Errorf("rule of chain %s: %w", chain, err)
		}
		b.bytes(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, raw)
	}
	b.closeAttr(n)
	b.close(m)
	return nil
}

func (b *batch) chain(name string) {
	m := b.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE)
	b.text(unix.NFTA_CHAIN_TABLE, tableName)
	b.text(unix.NFTA_CHAIN_NAME, name)
	b.close(m)
}

// dropChain removes a chain with its rules.
func (b *batch) dropChain(name string) {
	b.flush(name)
	m := b.message(unix.NFT_MSG_DELCHAIN, 0)
	b.text(unix.NFTA_CHAIN_TABLE, tableName)
	b.text(unix.NFTA_CHAIN_NAME, name)
	b.close(m)
}

// flush removes a chain's rules.
func (b *batch) flush(chain string) {
	m := b.message(unix.NFT_MSG_DELRULE, 0)
	b.text(unix.NFTA_RULE_TABLE, tableName)
	b.text(unix.NFTA_RULE_CHAIN, chain)
	b.close(m)
}

func (b *batch) baseChain(name, kind string, hook uint32, priority int32) {
	m := b.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE)
	b.text(unix.NFTA_CHAIN_TABLE, tableName)
	b.text(unix.NFTA_CHAIN_NAME, name)
	n := b.nest(unix.NFTA_CHAIN_HOOK)
	b.number(unix.NFTA_HOOK_HOOKNUM, hook)
	b.number(unix.NFTA_HOOK_PRIORITY, uint32(priority))
	b.closeAttr(n)
	b.number(unix.NFTA_CHAIN_POLICY, netfilterAccept)
	b.text(unix.NFTA_CHAIN_TYPE, kind)
	b.close(m)
}

func (b *batch) table(typ uint16, flags uint16) {
	m := b.message(typ, flags)
	b.text(unix.NFTA_TABLE_NAME, tableName)
	b.close(m)
}

// affinitySize bounds how many clients are remembered; beyond it new ones
// have no affinity.
const affinitySize = 1 << 20

func (b *batch) set(f *family, s setID) {
	key, data := f.key(s), f.data(s)
	m := b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE)
	b.text(unix.NFTA_SET_TABLE, tableName)
	b.text(unix.NFTA_SET_NAME, setNames[s])
	b.number(unix.NFTA_SET_ID, uint32(s)+1)
	b.number(unix.NFTA_SET_KEY_TYPE, typeOf(key))
	b.number(unix.NFTA_SET_KEY_LEN, sizeOf(key))
	flags := uint32(0)
	if data != nil {
		flags |= unix.NFT_SET_MAP
		b.number(unix.NFTA_SET_DATA_TYPE, typeOf(data))
		if n := sizeOf(data); n > 0 {
			b.number(unix.NFTA_SET_DATA_LEN, n)
		}
	}
	desc := b.nest(unix.NFTA_SET_DESC)
	if len(key) > 1 {
		flags |= setConcat
		b.fields(key)
	}
	switch s {
	case setSources:
		flags |= unix.NFT_SET_INTERVAL
	case setAffinity:
		flags |= unix.NFT_SET_EVAL | unix.NFT_SET_TIMEOUT
		b.number(unix.NFTA_SET_DESC_SIZE, affinitySize)
	}
	b.closeAttr(desc)
	b.number(unix.NFTA_SET_FLAGS, flags)
	b.close(m)
}

// fields tells of what a key consists.
func (b *batch) fields(key []field) {
	all := b.nest(setDescConcat)
	for _, x := range key {
		one := b.nest(unix.NFTA_LIST_ELEM)
		b.number(setFieldLen, x.size)
		b.closeAttr(one)
	}
	b.closeAttr(all)
}

// Names of the kernel's that the unix package has not.
const (
	setFieldLen   = 1
	setConcat     = 0x80
	setDescConcat = 2
	dynsetDelete  = 2
	icmpPort      = 3
	icmp6Port     = 4
)

// skeleton makes all but what depends on services and addresses, in place of
// what there is.
func (f *family) skeleton(b *batch, o *Options) error {
	b.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE) // so that removing it can't fail
	b.table(unix.NFT_MSG_DELTABLE, 0)
	b.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE)
	w := &writer{b: b, f: f, o: o}
	w.sets(false)
	w.chains(chainServices, chainOutside, chainNodePorts, chainOutsidePorts)
	w.translate()
	w.refuse()
	w.masquerade()
	return w.err
}

// sets of a table that does all itself, or of one beside IPVS.
func (w *writer) sets(ipvs bool) {
	for s := range setCount {
		if setNames[s] != "" && s.beside(ipvs) {
			w.b.set(w.f, s)
		}
	}
}

type writer struct {
	b *batch
	f *family
	o *Options
	// ipvs is set for a table beside it.
	ipvs bool
	err  error
}

func (w *writer) rule(chain string, parts ...exprs) {
	if err := w.b.rule(chain, join(parts...)); err != nil && w.err == nil {
		w.err = err
	}
}

func (w *writer) chains(more ...string) {
	for _, name := range append(more, chainNone, chainNoneOutside, chainNonePorts, chainNonePortsOut, chainSources, chainReject, chainOffCluster) {
		w.b.chain(name)
	}
	for _, c := range w.addressChains() {
		w.b.chain(c.name)
	}
}

// translate is the way of packets to endpoints.
func (w *writer) translate() {
	w.b.baseChain("nat-prerouting", "nat", unix.NF_INET_PRE_ROUTING, dnat)
	w.b.baseChain("nat-output", "nat", unix.NF_INET_LOCAL_OUT, dnat)
	w.rule("nat-prerouting", jump(chainOutside))
	w.rule("nat-prerouting", jump(chainServices))
	w.rule("nat-output", jump(chainServices))
	w.insiders(chainOutside, unix.NFT_RETURN, "")
	w.rule(chainOutside, w.f.frontend(), w.f.route(setServicesOutside))
	w.rule(chainOutside, jump("outside-node-addresses"))
	w.rule(chainServices, w.f.frontend(), w.f.route(setServices))
	w.rule(chainServices, jump("node-addresses"))
	w.rule(chainNodePorts, nodePort(), w.f.route(setNodePorts))
	w.rule(chainOutsidePorts, nodePort(), w.f.route(setNodePortsOutside))
}

// refuse answers what leads nowhere: at once, and before the translation, for
// a node without a route to services would not even ask in the output hook.
func (w *writer) refuse() {
	w.early("prerouting", unix.NF_INET_PRE_ROUTING)
	w.early("output", unix.NF_INET_LOCAL_OUT)
	for _, at := range []struct {
		name string
		hook uint32
	}{{"prerouting", unix.NF_INET_PRE_ROUTING}, {"output", unix.NF_INET_LOCAL_OUT}} {
		late := "filter-" + at.name + "-translated"
		w.b.baseChain(late, "filter", at.hook, after)
		// A packet on its way while the table is replaced may find no frontend where
		// it is translated, and this chain already with all of them. It is dropped
		// before its connection is known, and translated when it is sent again.
		w.rule(late, stateOf(expr.CtStateBitNEW), w.f.frontend(), lookupInto(inside.services(), reg0, reg0), exprs{&expr.Verdict{Kind: expr.VerdictDrop}})
		// By a map: a packet on its way while the table is replaced finds no map's
		// elements any more, but all of a set's, and would be refused.
		w.rule(late, stateOf(expr.CtStateBitNEW), w.f.destination(reg0), lookupVerdict(setGuarded))
	}
	w.refusals()
	w.invalid()
}

// stateOf goes on with packets of a state of connection tracking.
func stateOf(bit uint32) exprs {
	return exprs{
		&expr.Ct{Register: reg0, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bit), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg0, Data: make([]byte, 4)},
	}
}

// early is the chain of a hook that refuses.
func (w *writer) early(name string, hook uint32) {
	chain := "filter-" + name
	isNew := stateOf(expr.CtStateBitNEW)
	w.b.baseChain(chain, "filter", hook, before)
	w.rule(chain, isNew, jump(chainSources))
	if hook == unix.NF_INET_PRE_ROUTING {
		w.rule(chain, isNew, jump(chainNoneOutside))
	}
	w.rule(chain, isNew, jump(chainNone))
}

// refusals are the chains that the hooks' go to.
func (w *writer) refusals() {
	w.rule(chainSources, w.f.frontend(), lookup(setRestricted, reg0), w.f.client(reg0+w.f.words+2),
		exprs{&expr.Lookup{SourceRegister: reg0, SetName: setNames[setSources], Invert: true}, &expr.Verdict{Kind: expr.VerdictDrop}})
	w.insiders(chainNoneOutside, unix.NFT_RETURN, "")
	w.rule(chainNoneOutside, w.f.frontend(), lookupVerdict(setNoneOutside))
	w.rule(chainNoneOutside, jump("outside-none-node-addresses"))
	w.rule(chainNone, w.f.frontend(), lookupVerdict(setNone))
	w.rule(chainNone, jump("none-node-addresses"))
	w.rule(chainNonePorts, nodePort(), lookupVerdict(setNodeNone))
	w.rule(chainNonePortsOut, nodePort(), lookupVerdict(setNodeNoneOutside))
	code := uint8(icmp6Port)
	if w.f.v4 {
		code = icmpPort
	}
	w.rule(chainReject, exprs{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: code}})
}

// invalid drops packets that connection tracking takes for none of its own:
// they are not translated back, and the client would reset a connection that
// lives.
func (w *writer) invalid() {
	if w.o.Liberal {
		return
	}
	w.b.baseChain("filter-forward", "filter", unix.NF_INET_FORWARD, 0)
	w.rule("filter-forward", stateOf(expr.CtStateBitINVALID), exprs{&expr.Verdict{Kind: expr.VerdictDrop}})
}

func (w *writer) masquerade() {
	w.b.baseChain("nat-postrouting", "nat", unix.NF_INET_POST_ROUTING, snat)
	mark := w.o.Mark()
	w.rule("nat-postrouting", exprs{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg0},
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(mark), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg0, Data: make([]byte, 4)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg0},
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(^mark), Xor: make([]byte, 4)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg0, SourceRegister: true},
		&expr.Masq{FullyRandom: true},
	})
	w.rule("nat-postrouting", w.f.client(reg0), w.f.destination(reg0+w.f.words), lookup(setHairpin, reg0), exprs{&expr.Masq{FullyRandom: true}})
	w.insiders(chainOffCluster, unix.NFT_RETURN, "")
	w.rule(chainOffCluster, w.mark())
}

// mark has a packet's source replaced after routing.
func (w *writer) mark() exprs {
	mark := w.o.Mark()
	return exprs{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg0},
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(^mark), Xor: binaryutil.NativeEndian.PutUint32(mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg0, SourceRegister: true},
	}
}

// insiders have pods leave a chain.
func (w *writer) insiders(chain string, kind int64, to string) {
	leave := exprs{&expr.Verdict{Kind: expr.VerdictKind(kind), Chain: to}}
	for _, p := range w.o.Pods.Networks {
		if p.Addr().Is4() == w.f.v4 {
			w.rule(chain, w.f.client(reg0), within(p), leave)
		}
	}
	if name := w.o.Pods.Interface; name != "" {
		w.rule(chain, interfaceName(name, w.o.Pods.Prefix), leave)
	}
	if w.o.Pods.unknown() && chain == chainOffCluster {
		// Whoever can't tell pods from others must leave all as they are.
		w.rule(chain, leave)
	}
}

// addresses has node ports reached at addresses of the node: those in
// networks.
func (w *writer) addresses(networks []netip.Prefix) {
	local := exprs{
		&expr.Fib{Register: reg0, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
	for _, c := range w.addressChains() {
		w.b.flush(c.name)
		// Answers of a node port to its own loopback would have nowhere to go.
		loopback := netip.MustParsePrefix("::1/128")
		if w.f.v4 {
			loopback = netip.MustParsePrefix("127.0.0.0/8")
		}
		w.rule(c.name, w.f.destination(reg0), within(loopback), exprs{&expr.Verdict{Kind: expr.VerdictReturn}})
		for _, p := range networks {
			if p.Addr().Is4() == w.f.v4 {
				w.rule(c.name, w.f.destination(reg0), within(p), local, exprs{&expr.Verdict{Kind: expr.VerdictGoto, Chain: c.to}})
			}
		}
	}
}

// route says what a chain of endpoints does: it is shared by all frontends
// with as many endpoints and the same ways.
type route struct {
	count      int
	masquerade compile.Masquerade
	affinity   time.Duration
	side       side
}

func (r route) name() string {
	name := fmt.Sprintf("to-%d", r.count)
	if r.masquerade != compile.Never {
		name += "-" + r.masquerade.String()
	}
	if r.affinity > 0 {
		name += "-stay-" + r.affinity.String()
	}
	return name + [...]string{"", "-outside", "-node", "-node-outside"}[r.side]
}

// route writes a chain of endpoints. The rules pass values through registers:
// the frontend's key, its pool, a random index, the endpoint.
func (w *writer) route(r route) {
	name := r.name()
	w.b.chain(name)
	switch r.masquerade {
	case compile.Always:
		w.rule(name, w.mark())
	case compile.OffCluster:
		w.rule(name, jump(chainOffCluster))
	}
	f := w.f
	pool := func(to uint32) exprs { return join(lookupInto(r.side.pools(), reg0, to), sized(to)) }
	key := f.frontend()
	if r.side.node() {
		key = nodePort()
	}
	id := f.pool + 1 + f.words
	random := exprs{&expr.Numgen{Register: f.pool + 1, Modulus: uint32(r.count), Type: unix.NFT_NG_RANDOM}}
	first := exprs{&expr.Numgen{Register: f.pool + 1, Modulus: 1, Type: unix.NFT_NG_RANDOM}}
	find := lookupInto(setEndpoints, f.pool, reg0)
	if r.affinity > 0 {
		find = join(lookupInto(setStaySlots, f.pool, id), sized(id), lookupInto(setStayEndpoints, id, reg0))
		known := join(key, pool(f.pool), f.client(f.pool+1), lookupInto(setAffinity, f.pool, id), sized(id))
		memory := func(op uint32) exprs {
			return exprs{&expr.Dynset{SrcRegKey: f.pool, SrcRegData: id, SetName: setNames[setAffinity], Operation: op, Timeout: r.affinity}}
		}
		w.rule(name, known, lookupInto(setStayEndpoints, id, reg0), memory(unix.NFT_DYNSET_OP_UPDATE), f.translate())
		// Otherwise the memory of an endpoint that is gone would last.
		w.rule(name, known, memory(dynsetDelete))
		w.rule(name, key, pool(f.pool), random, find, f.client(f.pool+1), memory(unix.NFT_DYNSET_OP_UPDATE), f.translate())
	}
	w.rule(name, key, pool(f.pool), random, find, f.translate())
	// A packet may come here by an element of before a change, and find the
	// endpoints of after it: fewer.
	w.rule(name, key, pool(f.pool), first, find, f.translate())
}

// sized does nothing to a register. nft(8) does not know the size of what a
// map has put there, and aborts when it lists a rule that uses it in a key; a
// mark it knows. So the value passes through the packet's mark, which is what
// it was right after.
func sized(register uint32) exprs {
	const saved = unix.NFT_REG32_15
	return exprs{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: saved},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register, SourceRegister: true},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: saved, SourceRegister: true},
	}
}

// frontend loads the key of frontends.
func (f *family) frontend() exprs {
	return join(f.destination(reg0), exprs{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0 + f.words},
		&expr.Payload{DestRegister: reg0 + f.words + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	})
}

// nodePort loads the key of node ports.
func nodePort() exprs {
	return exprs{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0},
		&expr.Payload{DestRegister: reg0 + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

func (f *family) client(to uint32) exprs {
	return exprs{&expr.Payload{DestRegister: to, Base: expr.PayloadBaseNetworkHeader, Offset: f.source, Len: f.addr.size}}
}

func (f *family) destination(to uint32) exprs {
	return exprs{&expr.Payload{DestRegister: to, Base: expr.PayloadBaseNetworkHeader, Offset: f.dest, Len: f.addr.size}}
}

func (f *family) translate() exprs {
	return exprs{&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.number), RegAddrMin: reg0, RegProtoMin: reg0 + f.words, Specified: true}}
}

func lookup(s setID, key uint32) exprs {
	return exprs{&expr.Lookup{SourceRegister: key, SetName: setNames[s]}}
}

func lookupInto(s setID, key, to uint32) exprs {
	return exprs{&expr.Lookup{SourceRegister: key, DestRegister: to, IsDestRegSet: true, SetName: setNames[s]}}
}

// route goes where a map says for the key at reg0.
func (f *family) route(s setID) exprs {
	return join(lookupInto(s, reg0, f.pool), sized(f.pool), lookupInto(setRoutes, f.pool, unix.NFT_REG_VERDICT))
}

// lookupVerdict does what a map says of the key at reg0.
func lookupVerdict(s setID) exprs { return lookupInto(s, reg0, unix.NFT_REG_VERDICT) }

func jump(to string) exprs { return exprs{&expr.Verdict{Kind: expr.VerdictJump, Chain: to}} }

// within compares the address at reg0 with a network.
func within(p netip.Prefix) (out exprs) {
	a := p.Masked().Addr().AsSlice()
	if p.Bits() < p.Addr().BitLen() {
		mask := make([]byte, len(a))
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		out = append(out, &expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: uint32(len(a)), Mask: mask, Xor: make([]byte, len(a))})
	}
	return append(out, &expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: a})
}

func interfaceName(name string, prefix bool) exprs {
	data := []byte(name)
	if !prefix {
		data = make([]byte, unix.IFNAMSIZ)
		copy(data, name)
	}
	return exprs{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}}
}
