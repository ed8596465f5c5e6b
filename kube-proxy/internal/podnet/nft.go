package podnet

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName is ours alone: it is replaced as a whole, in one transaction.
// There are few rules in it, at most one per host port.
const tableName = "xebec-pods"

// spoofed is before the translation of addresses and after connection
// tracking: what comes from a pod to a loopback address then was not an
// answer to the node.
var spoofed = *nftables.ChainPriorityRef(-150)

func applyRules(r *Rules, v4 bool) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv6}
	if v4 {
		t.Family = nftables.TableFamilyIPv4
	}
	c.AddTable(t) // so that deleting it can't fail
	c.DelTable(t)
	if !r.empty() {
		w := &writer{c: c, t: c.AddTable(t), v4: v4}
		if err := w.write(r); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("replace nftables table %s: %w", tableName, err)
	}
	return nil
}

// writer puts one family's rules into a batch.
type writer struct {
	c  *nftables.Conn
	t  *nftables.Table
	v4 bool
}

func (w *writer) write(r *Rules) error {
	accept := nftables.ChainPolicyAccept
	hook := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		return w.c.AddChain(&nftables.Chain{Table: w.t, Name: name, Type: kind, Hooknum: hook, Priority: priority, Policy: &accept})
	}
	ports := w.c.AddChain(&nftables.Chain{Table: w.t, Name: "hostports"})
	toNode := []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
		&expr.Verdict{Kind: expr.VerdictJump, Chain: ports.Name},
	}
	if len(r.Ports) > 0 {
		w.rule(hook("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest), toNode)
		w.rule(hook("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest), toNode)
	}
	for _, p := range r.Ports {
		rule, err := w.redirect(&p)
		if err != nil {
			return err
		}
		w.rule(ports, rule)
	}
	post := hook("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	w.masquerade(post, r)
	if w.v4 {
		guard := hook("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, &spoofed)
		w.rule(guard, concat(ifname(expr.MetaKeyIIFNAME, r.Bridge), w.to(netip.MustParsePrefix("127.0.0.0/8"), expr.CmpOpEq), []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}))
	}
	return nil
}

// masquerade rules, in the order in which they are asked.
func (w *writer) masquerade(post *nftables.Chain, r *Rules) {
	redirected := []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATUS},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(statusDNAT), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
	masq := []expr.Any{&expr.Masq{}}
	if w.v4 {
		w.rule(post, concat(redirected, w.from(netip.MustParsePrefix("127.0.0.0/8")), masq))
	}
	for _, own := range r.Own {
		if r.Hairpin {
			w.rule(post, concat(redirected, w.from(own), w.to(own, expr.CmpOpEq), masq))
			continue
		}
		seen := map[netip.Addr]bool{}
		for _, p := range r.Ports {
			if self := netip.PrefixFrom(p.To, p.To.BitLen()); !seen[p.To] {
				seen[p.To] = true
				w.rule(post, concat(redirected, w.from(self), w.to(self, expr.CmpOpEq), masq))
			}
		}
	}
	for _, own := range r.Own {
		rule := w.from(own)
		for _, x := range r.Except {
			rule = concat(rule, w.to(x, expr.CmpOpNeq))
		}
		w.rule(post, concat(rule, masq))
	}
}

// statusDNAT is IPS_DST_NAT of the kernel's connection tracking.
const statusDNAT = 1 << 5

func (w *writer) redirect(p *Redirect) ([]expr.Any, error) {
	protocol, ok := map[string]byte{"TCP": unix.IPPROTO_TCP, "UDP": unix.IPPROTO_UDP, "SCTP": unix.IPPROTO_SCTP}[p.Protocol]
	if !ok {
		return nil, fmt.Errorf("host port %d: protocol %q is not TCP, UDP or SCTP", p.Host, p.Protocol)
	}
	rule := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(p.Host)},
	}
	if p.HostIP.IsValid() {
		rule = concat(rule, w.to(netip.PrefixFrom(p.HostIP, p.HostIP.BitLen()), expr.CmpOpEq))
	}
	family := uint32(unix.NFPROTO_IPV6)
	if w.v4 {
		family = unix.NFPROTO_IPV4
	}
	return append(rule,
		&expr.Immediate{Register: 1, Data: p.To.AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(p.Container)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: 1, RegProtoMin: 2, Specified: true},
	), nil
}

func (w *writer) rule(c *nftables.Chain, exprs []expr.Any) {
	w.c.AddRule(&nftables.Rule{Table: w.t, Chain: c, Exprs: exprs})
}

func (w *writer) from(p netip.Prefix) []expr.Any { return w.within(p, 12, 8, expr.CmpOpEq) }

func (w *writer) to(p netip.Prefix, op expr.CmpOp) []expr.Any { return w.within(p, 16, 24, op) }

// within compares an address of the IP header, at an offset that depends on
// the family, with a network.
func (w *writer) within(p netip.Prefix, offset4, offset6 uint32, op expr.CmpOp) []expr.Any {
	offset, size := offset6, uint32(16)
	if w.v4 {
		offset, size = offset4, 4
	}
	out := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}}
	if p.Bits() < p.Addr().BitLen() {
		mask := make([]byte, size)
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		out = append(out, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)})
	}
	return append(out, &expr.Cmp{Op: op, Register: 1, Data: p.Masked().Addr().AsSlice()})
}

func ifname(key expr.MetaKey, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: padded}}
}

func concat(parts ...[]expr.Any) (out []expr.Any) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
