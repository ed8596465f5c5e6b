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

// change is the script of some services; of the chains that all have rules in
// only those that change are written.
func (f *family) change(changes []compile.Change) *script {
	out := newScript()
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
		f.chains(old, now, out.table(nat))
		f.put(name, now)
	}
	for s, is := range touched {
		if is {
			f.write(shared(s), out)
		}
	}
	return out
}

func (f *family) chains(old, now *planned, t *tableScript) {
	for i := range now.chains {
		c := &now.chains[i]
		if was := old.find(c.name); was == nil || !slices.Equal(was.rules, c.rules) {
			t.write(c)
		}
	}
	for i := range old.chains {
		if now.find(old.chains[i].name) == nil {
			t.drop(old.chains[i].name)
		}
	}
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

// all is the script of everything, over what there is.
func (f *family) all(was *saved) *script {
	out := newScript()
	chains := base(f.v4, f.o, f.networks)
	for _, table := range order {
		t := out.table(table)
		t.write(&chain{name: canary})
		for i := range chains[table] {
			t.write(&chains[table][i])
		}
	}
	for s := range sharedChains {
		f.write(s, out)
	}
	wanted := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(f.services)) {
		for i := range f.services[name].chains {
			c := &f.services[name].chains[i]
			wanted[c.name] = true
			out.table(nat).write(c)
		}
	}
	for _, name := range was.chains[nat] {
		if ofService(name) && !wanted[name] {
			out.table(nat).drop(name)
		}
	}
	for _, j := range jumpsOf(f.v4, f.o, f.networks) {
		if !was.has(&j) {
			out.table(j.table).lead(&j)
		}
	}
	return out
}
