package ipvs

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// Key of a virtual server: an address, port and protocol, or a packet mark.
type Key struct {
	Addr     netip.Addr
	Port     uint16
	Protocol uint8
	Mark     uint32
	V4       bool
}

func (k Key) String() string {
	if k.Mark != 0 {
		return fmt.Sprintf("mark %#x v%s", k.Mark, map[bool]string{true: "4", false: "6"}[k.V4])
	}
	protocol := map[uint8]string{unix.IPPROTO_TCP: "TCP", unix.IPPROTO_UDP: "UDP", unix.IPPROTO_SCTP: "SCTP"}[k.Protocol]
	return fmt.Sprint(protocol, " ", netip.AddrPortFrom(k.Addr, k.Port))
}

func compareKeys(a, b Key) int {
	return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Mark, b.Mark), compareBools(a.V4, b.V4))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Virtual is a virtual server as it should be; all servers have the weight 1.
type Virtual struct {
	Key
	Scheduler string
	// Persist is how long a client stays with a server, in seconds; 0: not at
	// all.
	Persist uint32
	// Drain keeps connections to servers that go. Protocols without
	// connections have nothing that would end.
	Drain   bool
	Servers []netip.AddrPort
}

func (v *Virtual) String() string {
	text := v.Key.String() + " " + v.Scheduler
	if v.Persist > 0 {
		text += fmt.Sprintf(" persistent %d", v.Persist)
	}
	if v.Drain {
		text += " drain"
	}
	text += " ->"
	for _, s := range v.Servers {
		text += " " + s.String()
	}
	return text
}

// planner says what services mean to IPVS.
type planner struct {
	scheduler string
	six       bool // the node has IPv6
	// sticky is the scheduler by the client's address: virtual servers by mark
	// can't be persistent, for they would send to the port of the client's
	// choice.
	sticky string
	// nodes are the addresses that node ports are reached at.
	nodes []netip.Addr
	// mark of a frontend with endpoints of its own for clients inside.
	mark func(f *compile.Frontend) uint32
}

// virtuals of a service, and the addresses that the node must have for them.
func (p *planner) virtuals(s *compile.Service) (out []*Virtual, addresses []netip.Addr) {
	for i := range s.Frontends {
		f := &s.Frontends[i]
		if !f.V4 && !p.six {
			continue
		}
		pool := &f.Pool
		if f.Outside != nil {
			pool = f.Outside
			v := p.virtual(f, &f.Pool)
			v.Key, v.Persist = Key{Mark: p.mark(f), V4: f.V4}, 0
			if f.Affinity > 0 {
				v.Scheduler = p.sticky
			}
			out = append(out, v)
		}
		at := []netip.Addr{f.Addr}
		if f.Kind == compile.NodePort {
			at = p.nodes
		} else {
			addresses = append(addresses, f.Addr)
		}
		for _, a := range at {
			if a.Is4() == f.V4 {
				v := p.virtual(f, pool)
				v.Addr = a
				out = append(out, v)
			}
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return out, slices.Compact(addresses)
}

func (p *planner) virtual(f *compile.Frontend, pool *compile.Pool) *Virtual {
	v := &Virtual{
		Key:       Key{Port: f.Port, Protocol: f.Protocol, V4: f.V4},
		Scheduler: p.scheduler, Persist: uint32(f.Affinity / time.Second), Drain: f.Protocol == unix.IPPROTO_TCP,
	}
	for _, b := range pool.Backends {
		v.Servers = append(v.Servers, b.AddrPort())
	}
	return v
}

// Held is a virtual server as the kernel has it.
type Held struct {
	Scheduler string
	Persist   uint32
	Servers   map[netip.AddrPort]int // weights
}

// verb of an op.
type verb uint8

const (
	addVirtual verb = iota
	setVirtual
	dropVirtual
	addServer
	weigh
	dropServer
)

// op is one change of the kernel's state.
type op struct {
	verb verb
	key  Key
	// Of virtual servers.
	scheduler string
	persist   uint32
	// Of servers.
	server netip.AddrPort
	weight int
}

func (o op) String() string {
	virtual := fmt.Sprint(o.key, " ", o.scheduler)
	if o.persist > 0 {
		virtual += fmt.Sprint(" persistent ", o.persist)
	}
	switch o.verb {
	case addVirtual:
		return "add " + virtual
	case setVirtual:
		return "set " + virtual
	case dropVirtual:
		return fmt.Sprint("drop ", o.key)
	case addServer:
		return fmt.Sprint("add ", o.key, " -> ", o.server)
	case dropServer:
		return fmt.Sprint("drop ", o.key, " -> ", o.server)
	}
	return fmt.Sprint("weigh ", o.key, " -> ", o.server, " ", o.weight)
}

// diff leads from what the kernel has of a virtual server to what it should
// be; either may be nil.
func diff(key Key, has *Held, want *Virtual) (out []op) {
	if want == nil {
		if has != nil {
			out = append(out, op{verb: dropVirtual, key: key})
		}
		return out
	}
	switch {
	case has == nil:
		out = append(out, op{verb: addVirtual, key: key, scheduler: want.Scheduler, persist: want.Persist})
		has = &Held{}
	case has.Scheduler != want.Scheduler || has.Persist != want.Persist:
		out = append(out, op{verb: setVirtual, key: key, scheduler: want.Scheduler, persist: want.Persist})
	}
	wanted := make(map[netip.AddrPort]bool, len(want.Servers))
	for _, s := range want.Servers {
		wanted[s] = true
		weight, there := has.Servers[s]
		switch {
		case !there:
			out = append(out, op{verb: addServer, key: key, server: s, weight: 1})
		case weight != 1:
			out = append(out, op{verb: weigh, key: key, server: s, weight: 1})
		}
	}
	// New ones are there before old ones go.
	var gone []op
	for s, weight := range has.Servers {
		switch {
		case wanted[s]:
		case !want.Drain:
			gone = append(gone, op{verb: dropServer, key: key, server: s})
		case weight != 0:
			gone = append(gone, op{verb: weigh, key: key, server: s})
		}
	}
	slices.SortFunc(gone, func(a, b op) int { return a.server.Compare(b.server) })
	return append(out, gone...)
}

func text[T fmt.Stringer](all []T) string {
	var b strings.Builder
	for _, x := range all {
		b.WriteString(x.String() + "\n")
	}
	return b.String()
}
