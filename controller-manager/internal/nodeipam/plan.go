// Package nodeipam gives each node its pod networks: a part of each of the
// cluster's, that no other node has.
package nodeipam

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// pool is a network of the cluster, cut into parts of one size.
type pool struct {
	network netip.Prefix
	bits    int // of a part
	// next is where to look first: a part that was given back rests.
	next int
}

// mostBits bounds the number of parts: a set larger than any cluster.
const mostBits = 20

// pools reads --cluster-cidr and the mask sizes; at most one of a family.
func pools(clusterCIDR string, sizeV4, sizeV6 int) ([]*pool, error) {
	var out []*pool
	for text := range strings.SplitSeq(clusterCIDR, ",") {
		n, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("--cluster-cidr: %q is not a network like 10.244.0.0/16", text)
		}
		n = n.Masked()
		p := &pool{network: n, bits: sizeV6}
		if n.Addr().Is4() {
			p.bits = sizeV4
		}
		switch {
		case p.bits < n.Bits() || p.bits > n.Addr().BitLen():
			return nil, fmt.Errorf("--node-cidr-mask-size: a part of %d bits does not fit into --cluster-cidr %s", p.bits, n)
		case p.bits-n.Bits() > mostBits:
			return nil, fmt.Errorf("--cluster-cidr: %s has more than 2^%d parts of %d bits: give a smaller network or smaller --node-cidr-mask-size", n, mostBits, p.bits)
		case len(out) == 2 || len(out) == 1 && out[0].network.Addr().Is4() == n.Addr().Is4():
			return nil, fmt.Errorf("--cluster-cidr: at most one network of a family, got %s", clusterCIDR)
		}
		out = append(out, p)
	}
	return out, nil
}

func (p *pool) size() int { return 1 << (p.bits - p.network.Bits()) }

// part is the i-th.
func (p *pool) part(i int) netip.Prefix {
	shift := p.network.Addr().BitLen() - p.bits
	if p.network.Addr().Is4() {
		b := p.network.Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|uint32(i)<<shift)
		return netip.PrefixFrom(netip.AddrFrom4(b), p.bits)
	}
	b := p.network.Addr().As16()
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	if shift >= 64 {
		hi |= uint64(i) << (shift - 64)
	} else {
		lo |= uint64(i) << shift
		if shift > 0 {
			hi |= uint64(i) >> (64 - shift)
		}
	}
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.PrefixFrom(netip.AddrFrom16(b), p.bits)
}

// taken knows the parts that nobody may be given, with their owners: nodes'
// own networks, whatever their size, and the Services'.
type taken struct{ owners map[netip.Prefix]string }

func (t *taken) add(owner string, networks ...netip.Prefix) {
	for _, n := range networks {
		t.owners[n.Masked()] = owner
	}
}

func (t *taken) remove(owner string) {
	for n, o := range t.owners {
		if o == owner {
			delete(t.owners, n)
		}
	}
}

// odd are the networks that are no parts of the pool: they may overlap many.
func (t *taken) odd(p *pool) (out []netip.Prefix) {
	for n := range t.owners {
		if n.Bits() != p.bits && n.Overlaps(p.network) {
			out = append(out, n)
		}
	}
	return out
}

// pick finds a free part of the pool.
func (t *taken) pick(p *pool) (netip.Prefix, bool) {
	odd := t.odd(p)
next:
	for i := range p.size() {
		at := (p.next + i) % p.size()
		part := p.part(at)
		if _, ok := t.owners[part]; ok {
			continue
		}
		for _, n := range odd {
			if n.Overlaps(part) {
				continue next
			}
		}
		p.next = at + 1
		return part, true
	}
	return netip.Prefix{}, false
}

// of is the part of a pool that a node was given.
func (t *taken) of(p *pool, node string) (netip.Prefix, bool) {
	for n, owner := range t.owners {
		if owner == node && n.Bits() == p.bits && p.network.Contains(n.Addr()) {
			return n, true
		}
	}
	return netip.Prefix{}, false
}

// plan gives a node a part of each pool, or of none when one is used up. A node
// that was given some gets the same again: it is asked for twice when the node
// changes before it is seen with them, or when nobody knows whether it has them.
func plan(pools []*pool, t *taken, node string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, p := range pools {
		if part, ok := t.of(p, node); ok {
			out = append(out, part)
			continue
		}
		part, ok := t.pick(p)
		if !ok {
			return nil, fmt.Errorf("no part of %s with %d bits is free for node %s: give a larger --cluster-cidr", p.network, p.bits, node)
		}
		out = append(out, part)
	}
	t.add(node, out...)
	return out, nil
}
