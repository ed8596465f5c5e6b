package ipvs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// fake is a kernel in memory that refuses what the kernel refuses.
type fake struct {
	virtuals    map[Key]*Held
	addresses   map[netip.Addr]bool
	node        map[netip.Addr]bool
	connections map[Key]map[netip.AddrPort]int
	fail        int // so many changes from now on fails one
}

func newFake() *fake {
	return &fake{virtuals: map[Key]*Held{}, addresses: map[netip.Addr]bool{}, connections: map[Key]map[netip.AddrPort]int{},
		node: map[netip.Addr]bool{netip.MustParseAddr("192.168.9.1"): true, netip.MustParseAddr("127.0.0.1"): true}}
}

func (k *fake) Do(o op) error {
	if k.fail > 0 {
		if k.fail--; k.fail == 0 {
			return errors.New("out of luck")
		}
	}
	h := k.virtuals[o.key]
	if (h == nil) != (o.verb == addVirtual) {
		return fmt.Errorf("%s: %v", o, h)
	}
	switch o.verb {
	case addVirtual:
		k.virtuals[o.key] = &Held{Scheduler: o.scheduler, Persist: o.persist, Servers: map[netip.AddrPort]int{}}
		return nil
	case setVirtual:
		h.Scheduler, h.Persist = o.scheduler, o.persist
		return nil
	case dropVirtual:
		delete(k.virtuals, o.key)
		return nil
	}
	if _, there := h.Servers[o.server]; there == (o.verb == addServer) {
		return fmt.Errorf("%s: %v", o, h.Servers)
	}
	if o.verb == dropServer {
		delete(h.Servers, o.server)
	} else {
		h.Servers[o.server] = o.weight
	}
	return nil
}

func (k *fake) Virtuals() (map[Key]*Held, error) {
	out := map[Key]*Held{}
	for key, h := range k.virtuals {
		c := *h
		c.Servers = map[netip.AddrPort]int{}
		for s, w := range h.Servers {
			c.Servers[s] = w
		}
		out[key] = &c
	}
	return out, nil
}

func (k *fake) Connections(key Key) (map[netip.AddrPort]int, error) {
	if k.virtuals[key] == nil {
		return nil, errors.New("no such virtual server")
	}
	return k.connections[key], nil
}

func clone(m map[netip.Addr]bool) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for a := range m {
		out[a] = true
	}
	return out
}

func (k *fake) Addresses() (map[netip.Addr]bool, error)     { return clone(k.addresses), nil }
func (k *fake) NodeAddresses() (map[netip.Addr]bool, error) { return clone(k.node), nil }
func (k *fake) Close() error                                { return nil }

func (k *fake) Bind(a netip.Addr) error {
	if k.addresses[a] {
		return fmt.Errorf("%s is bound already", a)
	}
	k.addresses[a] = true
	return nil
}

func (k *fake) Unbind(a netip.Addr) error {
	if !k.addresses[a] {
		return fmt.Errorf("%s is not bound", a)
	}
	delete(k.addresses, a)
	return nil
}

// open is a guard that lets all through.
type openGuard struct{}

func (openGuard) Sync(*compile.Update) error { return nil }
func (openGuard) Check() error               { return nil }
func (openGuard) Close() error               { return nil }

func fakeProxy() (*Proxy, *fake) {
	k := newFake()
	p := newProxy(Options{Scheduler: "rr"}, k)
	p.guard = openGuard{}
	return p, k
}

func sortKeys(keys []Key) []Key {
	slices.SortFunc(keys, compareKeys)
	return keys
}

// randomService is nil now and then. Some external addresses are the node's
// own, so that node ports of others are there too.
func randomService(r *rand.Rand, n int) *compile.Service {
	if r.IntN(5) == 0 {
		return nil
	}
	s := &compile.Service{Name: fmt.Sprint("x/", n)}
	add := func(kind compile.Kind, addr string, port uint16) {
		f := compile.Frontend{Kind: kind, Protocol: []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP}[r.IntN(3)], Port: port, V4: true}
		if addr != "" {
			f.Addr = netip.MustParseAddr(addr)
		}
		pool := func() (p compile.Pool) {
			for i := range 6 {
				if r.IntN(2) == 0 {
					p.Backends = append(p.Backends, compile.Backend{Endpoint: compile.EndpointOf(netip.MustParseAddrPort(fmt.Sprintf("10.244.0.%d:80", i+1)))})
				}
			}
			return p
		}
		f.Pool = pool()
		if kind != compile.ClusterIP && r.IntN(3) == 0 {
			p := pool()
			f.Outside = &p
		}
		if r.IntN(4) == 0 {
			f.Affinity = time.Duration(r.IntN(3)+1) * time.Minute
		}
		s.Frontends = append(s.Frontends, f)
	}
	add(compile.ClusterIP, fmt.Sprintf("10.96.0.%d", n+1), 80)
	if r.IntN(2) == 0 {
		add(compile.External, []string{"203.0.113.1", "192.168.9.1"}[r.IntN(2)], uint16(30000+n))
	}
	if r.IntN(2) == 0 {
		add(compile.NodePort, "", uint16(30000+(n+1)%8))
	}
	return s
}

// TestDifferential: after random changes, failures and restarts the kernel has
// what it would have if all had been written at once, but for servers that
// drain.
func TestDifferential(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		p, k := fakeProxy()
		networks := []netip.Prefix{netip.MustParsePrefix("192.168.9.0/24")}
		now := map[string]*compile.Service{}
		all := func() *compile.Update {
			u := &compile.Update{Full: true, NodePorts: networks}
			for n := range 8 {
				if s := now[fmt.Sprint("x/", n)]; s != nil {
					u.Changes = append(u.Changes, compile.Change{Name: s.Name, New: s})
				}
			}
			return u
		}
		full := true
		for range 60 {
			u := &compile.Update{NodePorts: networks}
			for range 1 + r.IntN(3) {
				n := r.IntN(8)
				name := fmt.Sprint("x/", n)
				if slices.ContainsFunc(u.Changes, func(c compile.Change) bool { return c.Name == name }) {
					continue
				}
				s := randomService(r, n)
				u.Changes = append(u.Changes, compile.Change{Name: name, Old: now[name], New: s})
				now[name] = s
			}
			switch r.IntN(12) {
			case 0: // another process
				p.kernel, full = k, true
				p = newProxy(Options{Scheduler: "rr"}, k)
				p.guard = openGuard{}
			case 1:
				k.fail = 1 + r.IntN(4)
			case 2:
				networks = []netip.Prefix{netip.MustParsePrefix([]string{"192.168.9.0/24", "10.0.0.0/8"}[r.IntN(2)])}
				u.NodePorts = networks
			}
			if full {
				u = all()
			}
			err := p.Sync(u)
			full = err != nil
			k.fail = 0
		}
		if err := p.Sync(all()); err != nil {
			t.Fatal(err)
		}
		if err := p.drain(); err != nil {
			t.Fatal(err)
		}
		fresh, want := fakeProxy()
		if err := fresh.Sync(all()); err != nil {
			t.Fatal(err)
		}
		// A mark is a number given once: only what is behind it counts.
		if a, b := unmarked(k.virtuals), unmarked(want.virtuals); !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d:\nhave %v\nwant %v", seed, a, b)
		}
		if !reflect.DeepEqual(k.addresses, want.addresses) {
			t.Fatalf("seed %d: addresses %v, want %v", seed, k.addresses, want.addresses)
		}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

func unmarked(all map[Key]*Held) map[string]int {
	out := map[string]int{}
	for k, h := range all {
		name := k.String()
		if k.Mark != 0 {
			name = "mark"
		}
		out[fmt.Sprint(name, " ", h.Scheduler, " ", h.Persist, " ", h.Servers)]++
	}
	return out
}

// TestDrain: a server that goes takes no more connections and is there until
// its last one ends; one that comes back takes them again; and all of that
// over a restart.
func TestDrain(t *testing.T) {
	p, k := fakeProxy()
	a, b := netip.MustParseAddrPort("10.244.0.1:80"), netip.MustParseAddrPort("10.244.0.2:80")
	of := func(all ...netip.AddrPort) *compile.Update {
		f := compile.Frontend{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: unix.IPPROTO_TCP, V4: true}
		for _, at := range all {
			f.Pool.Backends = append(f.Pool.Backends, compile.Backend{Endpoint: compile.EndpointOf(at)})
		}
		return &compile.Update{Full: true, Changes: []compile.Change{{Name: "x/a", New: &compile.Service{Name: "x/a", Frontends: []compile.Frontend{f}}}}}
	}
	key := Key{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: unix.IPPROTO_TCP, V4: true}
	expect := func(step string, want map[netip.AddrPort]int) {
		t.Helper()
		if err := p.drain(); err != nil {
			t.Fatal(err)
		}
		if got := k.virtuals[key].Servers; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: weights %v, want %v", step, got, want)
		}
	}
	sync := func(u *compile.Update) {
		t.Helper()
		if err := p.Sync(u); err != nil {
			t.Fatal(err)
		}
	}
	restart := func() { p = newProxy(Options{Scheduler: "rr"}, k); p.guard = openGuard{} }
	sync(of(a, b))
	k.connections[key] = map[netip.AddrPort]int{a: 3, b: 3}
	sync(of(a))
	expect("b drains", map[netip.AddrPort]int{a: 1, b: 0})
	restart()
	sync(of(a))
	expect("b drains still", map[netip.AddrPort]int{a: 1, b: 0})
	sync(of(a, b))
	expect("b is back", map[netip.AddrPort]int{a: 1, b: 1})
	sync(of(b))
	restart()
	sync(of(a, b))
	expect("a is back over a restart", map[netip.AddrPort]int{a: 1, b: 1})
	sync(of(b))
	k.connections[key] = map[netip.AddrPort]int{a: 0, b: 3}
	expect("a has ended", map[netip.AddrPort]int{b: 1})
	sync(of())
	expect("the last one drains too", map[netip.AddrPort]int{b: 0})
}

// TestExcluded: virtual servers of others stay.
func TestExcluded(t *testing.T) {
	k := newFake()
	other := Key{Addr: netip.MustParseAddr("10.9.0.1"), Port: 80, Protocol: unix.IPPROTO_TCP, V4: true}
	marked := Key{Mark: 77, V4: true}
	stale := Key{Addr: netip.MustParseAddr("10.96.0.9"), Port: 80, Protocol: unix.IPPROTO_TCP, V4: true}
	for _, key := range []Key{other, marked, stale} {
		k.virtuals[key] = &Held{Scheduler: "rr"}
	}
	p := newProxy(Options{Scheduler: "rr", Exclude: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}, k)
	p.guard = openGuard{}
	if err := p.Sync(&compile.Update{Full: true}); err != nil {
		t.Fatal(err)
	}
	if k.virtuals[other] == nil || k.virtuals[marked] == nil || k.virtuals[stale] != nil {
		t.Errorf("left: %v", k.virtuals)
	}
}
