package iptables

import (
	"fmt"
	"net/netip"
	"strings"

	"xebec.dev/kube-proxy/internal/nftables"
)

// Options of a Proxy; the zero value works.
type Options struct {
	// Pods, MarkBit and Liberal are as in the mode nftables.
	nftables.Options
	// LocalhostNodePorts serves node ports at IPv4's loopback addresses too.
	LocalhostNodePorts bool

	// counts: rules count packets in counters of the kernel's.
	counts bool
}

// pods match what comes from pods, one rule each.
func (o *Options) pods(v4 bool) (out []string) {
	if i := o.Pods.Interface; i != "" {
		if o.Pods.Prefix {
			i += "+"
		}
		return []string{"-i " + i}
	}
	for _, p := range o.Pods.Networks {
		if p.Addr().Is4() == v4 {
			out = append(out, "-s "+p.String())
		}
	}
	return out
}

// offCluster marks what does not come from pods. A rule can say "not" of one
// network only: of several a chain does.
func (o *Options) offCluster(v4 bool, match string) []string {
	switch pods := o.pods(v4); len(pods) {
	case 0:
		return nil
	case 1:
		return []string{match + " ! " + pods[0] + " -j " + markMasq}
	}
	return []string{match + " -j " + markOff}
}

// jump leads from a chain of the kernel's to one of ours. They are put before
// all others.
type jump struct{ table, from, match, to string }

const onlyNew = "-m conntrack --ctstate NEW "

var jumps = []jump{
	{filter, "INPUT", onlyNew + `-m comment --comment "kubernetes externally-visible service portals"`, external},
	{filter, "FORWARD", onlyNew + `-m comment --comment "kubernetes externally-visible service portals"`, external},
	{filter, "FORWARD", onlyNew + `-m comment --comment "kubernetes service portals"`, services},
	{filter, "OUTPUT", onlyNew + `-m comment --comment "kubernetes service portals"`, services},
	{filter, "FORWARD", `-m comment --comment "kubernetes forwarding rules"`, forward},
	{filter, "INPUT", `-m comment --comment "kubernetes health check service ports"`, nodePorts},
	{filter, "INPUT", onlyNew + `-m comment --comment "kubernetes load balancer firewall"`, firewall},
	{filter, "FORWARD", onlyNew + `-m comment --comment "kubernetes load balancer firewall"`, firewall},
	{filter, "OUTPUT", onlyNew + `-m comment --comment "kubernetes load balancer firewall"`, firewall},
	{nat, "OUTPUT", `-m comment --comment "kubernetes service portals"`, services},
	{nat, "PREROUTING", `-m comment --comment "kubernetes service portals"`, services},
	{nat, "POSTROUTING", `-m comment --comment "kubernetes postrouting rules"`, postrouting},
}

// loopbackJumps lead to the chain that keeps others off loopback addresses,
// which node ports there make reachable.
var loopbackJumps = []jump{{filter, "INPUT", "", localnet}, {filter, "OUTPUT", "", localnet}}

// base are the chains that do not depend on services.
func base(v4 bool, o *Options, networks []netip.Prefix) map[string][]chain {
	mark := fmt.Sprintf("%#x", o.Mark())
	both := mark + "/" + mark
	marking := []chain{
		{markMasq, []string{"-j MARK --set-xmark " + both}},
		{postrouting, []string{
			"-m mark ! --mark " + both + " -j RETURN",
			// Another pass through here must not find the mark.
			"-j MARK --xor-mark " + mark,
			`-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully`,
		}},
	}
	if pods := o.pods(v4); len(pods) > 1 {
		var off []string
		for _, p := range pods {
			off = append(off, p+" -j RETURN")
		}
		marking = append(marking, chain{markOff, append(off, "-j "+markMasq)})
	}
	var through []string
	if !o.Liberal {
		through = append(through, "-m conntrack --ctstate INVALID "+o.counted(counterInvalid)+"-j DROP")
	}
	through = append(through,
		`-m comment --comment "kubernetes forwarding rules" -m mark --mark `+both+" -j ACCEPT",
		`-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`)
	filters := []chain{{forward, through}}
	if o.loopback(v4, networks) {
		filters = append(filters, chain{localnet, []string{
			`-m comment --comment "block incoming localnet connections" ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
		}})
	}
	return map[string][]chain{nat: marking, filter: filters, mangle: nil}
}

// loopback tells whether node ports are served at IPv4's loopback addresses.
func (o *Options) loopback(v4 bool, networks []netip.Prefix) bool {
	return v4 && o.LocalhostNodePorts && ServesLoopback(networks)
}

// ServesLoopback tells whether networks of node ports have loopback addresses.
func ServesLoopback(networks []netip.Prefix) bool {
	for _, p := range networks {
		if p.Addr().Is4() && p.Overlaps(netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)) {
			return true
		}
	}
	return false
}

// toNodePorts are the last rules of KUBE-SERVICES: they match what comes to
// the node itself.
func toNodePorts(v4 bool, o *Options, networks []netip.Prefix) (out []string) {
	const why = `-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL`
	for _, p := range networks {
		if p.Addr().Is4() != v4 {
			continue
		}
		match := why
		switch {
		case p.Bits() > 0:
			match += " -d " + p.String()
		case !v4:
			match += " ! -d ::1/128"
		case !o.LocalhostNodePorts:
			match += " ! -d 127.0.0.0/8"
		}
		out = append(out, match+" -j "+nodePorts)
	}
	return out
}

// jumpsOf are those that a family has.
func jumpsOf(v4 bool, o *Options, networks []netip.Prefix) []jump {
	if o.loopback(v4, networks) {
		return append(jumps[:len(jumps):len(jumps)], loopbackJumps...)
	}
	return jumps
}

func (j *jump) rule() string { return strings.TrimSpace(j.match + " -j " + j.to) }
