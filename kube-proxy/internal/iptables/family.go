package iptables

import (
	"maps"
	"net/netip"
	"slices"

	"xebec.dev/kube-proxy/internal/compile"
)

// family is what the kernel has of one family, in memory.
type family struct {
	v4       bool
	o        *Options
	services map[string]*planned
	networks []netip.Prefix // of node ports
	rules    map[string]int // by table, all that are ours
}

func newFamily(v4 bool, o *Options) *family {
	return &family{v4: v4, o: o, services: map[string]*planned{}, rules: map[string]int{}}
}

func (f *family) String() string {
	if f.v4 {
		return "IPv4"
	}
	return "IPv6"
}

// change are the parts of a change of some services, to be written in their
// order: services' own chains first, each service's at once, for the chains
// that all services have rules in lead to them. Of those only the ones that
// change are written.
func (f *family) change(changes []compile.Change) []*script {
	var parts []*script
	last := newScript()
	var touched [sharedChains]bool
	for i := range changes {
		name := changes[i].Name
		old, now := f.services[name], plan(changes[i].New, f.v4, f.o)
		if old == nil {
			old = &planned{}
		}
		for s := range sharedChains {
			touched[s] = touched[s] || !slices.Equal(old.shared[s], now.shared[s])
		}
		if own := newScript(); f.chains(old, now, own.table(nat), last.table(nat)) {
			parts = append(parts, own)
		}
		f.put(name, now)
	}
	for s, is := range touched {
		if is {
			f.write(shared(s), last)
		}
	}
	return append(parts, last)
}

// chains writes those of a service that change, if any do. Those that are gone
// go when nothing leads to them any more.
func (f *family) chains(old, now *planned, t, last *tableScript) bool {
	for i := range now.chains {
		c := &now.chains[i]
		if was := old.find(c.name); was == nil || !slices.Equal(was.rules, c.rules) {
			t.write(c)
		}
	}
	for i := range old.chains {
		if now.find(old.chains[i].name) == nil {
			last.drop(old.chains[i].name)
		}
	}
	return t.named > 0
}

func (f *family) put(name string, now *planned) {
	f.count(f.services[name], -1)
	f.count(now, 1)
	if now.empty() {
		delete(f.services, name)
	} else {
		f.services[name] = now
	}
}

func (f *family) count(p *planned, by int) {
	if p == nil {
		return
	}
	for s, rules := range p.shared {
		f.rules[sharedNames[s].table] += by * len(rules)
	}
	for i := range p.chains {
		f.rules[nat] += by * len(p.chains[i].rules)
	}
}

// write writes a chain that services have rules in.
func (f *family) write(s shared, out *script) {
	c := chain{name: sharedNames[s].chain}
	for _, name := range slices.Sorted(maps.Keys(f.services)) {
		c.rules = append(c.rules, f.services[name].shared[s]...)
	}
	if s == natServices {
		c.rules = append(c.rules, toNodePorts(f.v4, f.o, f.networks)...)
	}
	out.table(sharedNames[s].table).write(&c)
}

// all are the parts of everything, over what there is, to be written in their
// order.
func (f *family) all(was *saved) []*script {
	first, last := newScript(), newScript()
	chains := base(f.v4, f.o, f.networks)
	for _, table := range order {
		t := first.table(table)
		t.write(&chain{name: canary})
		for i := range chains[table] {
			t.write(&chains[table][i])
		}
	}
	for s := range sharedChains {
		f.write(s, last)
	}
	parts := []*script{first}
	wanted := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(f.services)) {
		own := newScript()
		for i := range f.services[name].chains {
			c := &f.services[name].chains[i]
			wanted[c.name] = true
			own.table(nat).write(c)
		}
		parts = append(parts, own)
	}
	for _, name := range was.chains[nat] {
		if ofService(name) && !wanted[name] {
			last.table(nat).drop(name)
		}
	}
	for _, j := range jumpsOf(f.v4, f.o, f.networks) {
		if !was.has(&j) {
			last.table(j.table).lead(&j)
		}
	}
	return append(parts, last)
}
