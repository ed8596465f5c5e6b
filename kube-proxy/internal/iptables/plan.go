package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"xebec.dev/kube-proxy/internal/compile"
)

// shared are the chains that all services have rules in.
type shared uint8

const (
	natServices shared = iota
	natNodePorts
	filterServices
	filterExternal
	filterNodePorts
	filterFirewall
	sharedChains
)

var sharedNames = [sharedChains]struct{ table, chain string }{
	{nat, services}, {nat, nodePorts}, {filter, services}, {filter, external}, {filter, nodePorts}, {filter, firewall},
}

// chain is one of a service's own, in the table nat. Rules lack their
// beginning, "-A CHAIN ".
type chain struct {
	name  string
	rules []string
}

// planned is what a service has in one family.
type planned struct {
	shared [sharedChains][]string
	chains []chain // in the order of their making, each once
}

func (p *planned) empty() bool {
	return len(p.chains) == 0 && !slices.ContainsFunc(p.shared[:], func(r []string) bool { return len(r) > 0 })
}

// chain begins one, unless it is there already.
func (p *planned) chain(name string, rules func() []string) {
	if p.find(name) == nil {
		p.chains = append(p.chains, chain{name: name})
		i := len(p.chains) - 1
		made := rules() // which may add chains
		p.chains[i].rules = made
	}
}

func (p *planned) find(name string) *chain {
	for i := range p.chains {
		if p.chains[i].name == name {
			return &p.chains[i]
		}
	}
	return nil
}

func (p *planned) add(to shared, format string, args ...any) {
	p.shared[to] = append(p.shared[to], fmt.Sprintf(format, args...))
}

// plan says what a service has in a family: pure.
func plan(s *compile.Service, v4 bool, o *Options) *planned {
	p := &planned{}
	if s == nil {
		return p
	}
	for i := range s.Frontends {
		if f := &s.Frontends[i]; f.V4 == v4 {
			x := &port{planned: p, o: o, f: f, name: portName(s.Name, f.PortName), protocol: protocols[f.Protocol]}
			x.hash = hashed(x.name, x.protocol)
			x.frontend()
		}
	}
	if s.Health != nil {
		// Load balancers ask there; a firewall of the node's must not be in the way.
		p.add(filterNodePorts, "-m comment --comment %q -m tcp -p tcp --dport %d -j ACCEPT", s.Name+" health check node port", s.Health.Port)
	}
	return p
}

// port renders one frontend of a service's port.
type port struct {
	*planned
	o        *Options
	f        *compile.Frontend
	name     string
	protocol string
	hash     string
}

func comment(text string) string { return "-m comment --comment " + strconv.Quote(text) }

// to matches what comes to the frontend.
func (x *port) to() string {
	match := fmt.Sprintf("-m %s -p %s --dport %d", x.protocol, x.protocol, x.f.Port)
	if x.f.Kind != compile.NodePort {
		return match + " -d " + x.f.Addr.String()
	}
	return match
}

func (x *port) frontend() {
	if x.f.Kind == compile.ClusterIP {
		x.clusterIP()
		return
	}
	pool := &x.f.Pool
	if outside := x.outside(); len(outside.Backends) == 0 {
		x.missing(filterExternal, outside)
	}
	if len(pool.Backends) == 0 && x.outsideEmpty() {
		return
	}
	target := x.external()
	if x.f.Kind == compile.NodePort {
		if x.o.counts && x.o.LocalhostNodePorts && x.f.V4 {
			x.add(natNodePorts, "%s -d 127.0.0.0/8 %s %s-j %s", comment(x.name), x.to(), x.o.counted(counterLoopback), target)
		}
		x.add(natNodePorts, "%s %s -j %s", comment(x.name), x.to(), target)
		return
	}
	kind := "external IP"
	if x.f.Balancer {
		kind = "loadbalancer IP"
	}
	if x.f.Sources != nil {
		target = x.firewall(target)
		x.add(filterFirewall, "%s %s -j DROP", comment(x.name+" traffic not accepted by "+target), x.to())
	}
	x.add(natServices, "%s %s -j %s", comment(x.name+" "+kind), x.to(), target)
}

// outside is the pool of clients outside the cluster.
func (x *port) outside() *compile.Pool {
	if x.f.Outside != nil {
		return x.f.Outside
	}
	return &x.f.Pool
}

func (x *port) outsideEmpty() bool { return len(x.outside().Backends) == 0 }

func (x *port) clusterIP() {
	pool := &x.f.Pool
	if len(pool.Backends) == 0 {
		x.missing(filterServices, pool)
		return
	}
	target := x.pool(pool)
	at := comment(x.name+" cluster IP") + " " + x.to()
	x.add(natServices, "%s -j %s", at, target)
	c := x.find(target)
	var masquerade []string
	switch pool.Masquerade {
	case compile.Always:
		masquerade = []string{at + " -j " + markMasq}
	case compile.OffCluster:
		masquerade = x.o.offCluster(x.f.V4, at)
	}
	c.rules = append(masquerade, c.rules...)
}

// missing refuses what has no endpoint.
func (x *port) missing(in shared, pool *compile.Pool) {
	what, verdict := "has no endpoints", "REJECT"
	if pool.Missing == compile.Drop {
		what, verdict = "has no local endpoints", "DROP"
	}
	at := x.to()
	if x.f.Kind == compile.NodePort {
		at = "-m addrtype --dst-type LOCAL " + at
	}
	x.add(in, "%s %s -j %s", comment(x.name+" "+what), at, verdict)
}

// external is the chain of what comes to external addresses and node ports.
func (x *port) external() string {
	name := prefixExternal + x.hash
	x.chain(name, func() (out []string) {
		if x.f.Outside == nil {
			why := comment("masquerade traffic for " + x.name + " external destinations")
			switch x.f.Pool.Masquerade {
			case compile.Always:
				out = append(out, why+" -j "+markMasq)
			case compile.OffCluster:
				out = x.o.offCluster(x.f.V4, why)
			}
			return append(out, "-j "+x.pool(&x.f.Pool))
		}
		// Inside the cluster the policy does not apply.
		if len(x.f.Pool.Backends) > 0 {
			all := x.pool(&x.f.Pool)
			for _, pods := range x.o.pods(x.f.V4) {
				out = append(out, fmt.Sprintf("%s %s -j %s", comment("pod traffic for "+x.name+" external destinations"), pods, all))
			}
			out = append(out,
				comment("masquerade LOCAL traffic for "+x.name+" external destinations")+" -m addrtype --src-type LOCAL -j "+markMasq,
				comment("route LOCAL traffic for "+x.name+" external destinations")+" -m addrtype --src-type LOCAL -j "+all)
		}
		if len(x.f.Outside.Backends) > 0 {
			out = append(out, "-j "+x.pool(x.f.Outside))
		}
		return out
	})
	return name
}

// firewall is the chain of a load balancer's source ranges. What passes none
// of them is not translated, and dropped in the table filter.
func (x *port) firewall(to string) string {
	name := prefixFirewall + x.hash
	why := comment(x.name + " loadbalancer IP")
	x.chain(name, func() (out []string) {
		for _, p := range x.f.Sources {
			out = append(out, fmt.Sprintf("%s -s %s -j %s", why, p, to))
		}
		return append(out, comment("other traffic to "+x.name+" will be dropped by "+firewall))
	})
	// A node that has the load balancer's address calls itself from it.
	c := x.find(name)
	own := fmt.Sprintf("%s -s %s -j %s", why, netip.PrefixFrom(x.f.Addr, x.f.Addr.BitLen()), to)
	if !slices.Contains(c.rules, own) {
		c.rules = slices.Insert(c.rules, len(c.rules)-1, own)
	}
	return name
}

// pool is the chain that chooses among endpoints.
func (x *port) pool(p *compile.Pool) string {
	prefix := prefixCluster
	if p.Local {
		prefix = prefixLocal
	}
	name := prefix + x.hash
	x.chain(name, func() (out []string) {
		n := len(p.Backends)
		ends := make([]string, n)
		for i := range p.Backends {
			ends[i] = x.endpoint(p.Backends[i].AddrPort())
		}
		if x.f.Affinity > 0 {
			for i, b := range p.Backends {
				out = append(out, fmt.Sprintf("%s -m recent --name %s --rcheck --seconds %d --reap -j %s",
					comment(x.name+" -> "+b.String()), ends[i], int(x.f.Affinity.Seconds()), ends[i]))
			}
		}
		for i, b := range p.Backends {
			rule := comment(x.name + " -> " + b.String())
			if left := n - i; left > 1 {
				rule += " -m statistic --mode random --probability " + strconv.FormatFloat(1/float64(left), 'f', 10, 64)
			}
			out = append(out, rule+" -j "+ends[i])
		}
		return out
	})
	return name
}

// endpoint is the chain that translates to one.
func (x *port) endpoint(to netip.AddrPort) string {
	name := prefixEndpoint + hashed(x.name, x.protocol, to.String())
	x.chain(name, func() []string {
		why := comment(x.name)
		remember := ""
		if x.f.Affinity > 0 {
			remember = " -m recent --name " + name + " --set"
		}
		return []string{
			// Who reaches itself must not see its own address.
			fmt.Sprintf("%s -s %s -j %s", why, to.Addr(), markMasq),
			fmt.Sprintf("%s%s -m %s -p %s -j DNAT --to-destination %s", why, remember, x.protocol, x.protocol, to),
		}
	})
	return name
}

// String prints a plan for people and golden tests.
func (p *planned) String() string {
	var b strings.Builder
	for i, rules := range p.shared {
		for _, r := range rules {
			fmt.Fprintf(&b, "%s: -A %s %s\n", sharedNames[i].table, sharedNames[i].chain, r)
		}
	}
	for _, c := range p.chains {
		for _, r := range c.rules {
			fmt.Fprintf(&b, "nat: -A %s %s\n", c.name, r)
		}
	}
	return b.String()
}
