// Package podnet is the node's share of the default pod network: the
// configuration of the CNI plugin, routes to the other nodes' pods, one
// masquerade for what leaves the cluster, and host ports of pods. Another
// network plugin brings its own: then none of it runs.
//
// compile is pure; apply makes the node so, whatever it was before.
package podnet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// State is what the cluster says.
type State struct {
	Node   string
	Nodes  []Node
	Pods   []Pod // of this node, with host ports
	Bridge string
	MTU    int
	// Cluster are networks that pods are seen in as they are: no masquerade.
	Cluster []netip.Prefix
	// Bridged tells whether traffic between two pods of the node passes the
	// IP hooks (br_netfilter): if not, what was redirected between them must
	// be masqueraded for the answer to come back.
	Bridged bool
}

// Node is a node of the cluster.
type Node struct {
	Name      string
	CIDRs     []netip.Prefix
	Addresses []netip.Addr // internal ones
}

// Pod has host ports.
type Pod struct {
	Name  string // namespace/name
	IPs   []netip.Addr
	Ports []HostPort
}

// HostPort is a port of the node that is a pod's.
type HostPort struct {
	Protocol        string     // TCP, UDP or SCTP
	HostIP          netip.Addr // zero: all of the node's
	Host, Container uint16
}

// Plan is what the node should have.
type Plan struct {
	// Conf is the network configuration list; nil while the node has no
	// networks.
	Conf   []byte
	Routes []Route
	V4, V6 Rules
}

// Route leads to another node's pods.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Rules of one family.
type Rules struct {
	Bridge string
	Own    []netip.Prefix // pods of this node
	Except []netip.Prefix // where they are not masqueraded
	Ports  []Redirect
	// Hairpin masquerades all that is redirected between pods of the node,
	// not only from a pod to itself.
	Hairpin bool
}

// Redirect is a host port of one family.
type Redirect struct {
	HostPort
	To netip.Addr
}

func (r *Rules) empty() bool { return len(r.Own) == 0 && len(r.Ports) == 0 }

// compile says what the node should have. The order of what comes in does not
// matter.
func compile(s *State) (*Plan, error) {
	p := &Plan{}
	var self *Node
	for i := range s.Nodes {
		if s.Nodes[i].Name == s.Node {
			self = &s.Nodes[i]
			continue
		}
		p.Routes = append(p.Routes, routes(&s.Nodes[i])...)
	}
	slices.SortFunc(p.Routes, func(a, b Route) int { return cmp.Compare(a.To.String(), b.To.String()) })
	p.V4, p.V6 = rules(s, self, true), rules(s, self, false)
	if self == nil || len(self.CIDRs) == 0 {
		return p, nil
	}
	conf, err := json.MarshalIndent(map[string]any{
		"cniVersion": "1.1.0", "name": "xebec",
		"plugins": []any{map[string]any{"type": "xebec-bridge", "bridge": s.Bridge, "mtu": s.MTU, "podCIDRs": self.CIDRs}},
	}, "", "  ")
	p.Conf = append(conf, '\n')
	return p, err
}

// routes to a node's pods by the node's address of the same family.
func routes(n *Node) (out []Route) {
	for _, to := range n.CIDRs {
		for _, via := range n.Addresses {
			if via.Is4() == to.Addr().Is4() {
				out = append(out, Route{to, via})
				break
			}
		}
	}
	return out
}

func rules(s *State, self *Node, v4 bool) Rules {
	r := Rules{Bridge: s.Bridge, Hairpin: !s.Bridged}
	if self != nil {
		for _, c := range self.CIDRs {
			if c.Addr().Is4() == v4 {
				r.Own = append(r.Own, c)
			}
		}
	}
	for _, c := range s.Cluster {
		if c.Addr().Is4() == v4 {
			r.Except = append(r.Except, c)
		}
	}
	multicast := netip.MustParsePrefix("ff00::/8")
	if v4 {
		multicast = netip.MustParsePrefix("224.0.0.0/4")
	}
	r.Except = append(r.Except, multicast)
	for _, pod := range s.Pods {
		for _, ip := range pod.IPs {
			if ip.Is4() == v4 {
				r.Ports = append(r.Ports, redirects(pod.Ports, ip)...)
			}
		}
	}
	// What names an address goes before what takes all of them.
	slices.SortFunc(r.Ports, func(a, b Redirect) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Host, b.Host), -a.HostIP.Compare(b.HostIP), a.To.Compare(b.To))
	})
	return r
}

func redirects(ports []HostPort, to netip.Addr) (out []Redirect) {
	for _, h := range ports {
		if h.HostIP.IsValid() && h.HostIP.IsUnspecified() {
			if h.HostIP.Is4() != to.Is4() {
				continue
			}
			h.HostIP = netip.Addr{}
		}
		if !h.HostIP.IsValid() || h.HostIP.Is4() == to.Is4() {
			out = append(out, Redirect{h, to})
		}
	}
	return out
}

// String prints a plan for people and golden tests.
func (p *Plan) String() string {
	var b strings.Builder
	for _, r := range p.Routes {
		fmt.Fprintf(&b, "route %s via %s\n", r.To, r.Via)
	}
	for _, r := range []*Rules{&p.V4, &p.V6} {
		for _, own := range r.Own {
			fmt.Fprintf(&b, "masquerade from %s but to %v\n", own, r.Except)
		}
		for _, x := range r.Ports {
			on := "any"
			if x.HostIP.IsValid() {
				on = x.HostIP.String()
			}
			fmt.Fprintf(&b, "redirect %s %s %d to %s\n", x.Protocol, on, x.Host, netip.AddrPortFrom(x.To, x.Container))
		}
	}
	if p.Conf != nil {
		b.Write(p.Conf)
	}
	return b.String()
}
