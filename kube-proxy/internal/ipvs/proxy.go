// Package ipvs puts services into the kernel's IPVS: a virtual server for each
// frontend, a real server for each endpoint, and the addresses of services on
// a link of the node's that nothing is sent by. What IPVS does not do (refuse,
// keep to source ranges, replace sources) a small nftables table beside it
// does.
//
// What the kernel has is read once, and again after a failure; changes are
// differences to what is in memory. All is written by one goroutine at a time:
// the kernel takes turns anyway, and is slower with several.
package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/nftables"
)

// Options of a Proxy; the zero value works.
type Options struct {
	nftables.Options
	// Scheduler of new connections, "rr" when empty.
	Scheduler string
	// Exclude are networks whose virtual servers are somebody else's.
	Exclude []netip.Prefix
	// StrictARP has the node answer only for addresses of the link that asks.
	StrictARP bool
	// Timeouts of connections; 0 leaves the kernel's.
	TCP, TCPFin, UDP time.Duration
	// Drain is how often servers that go are looked at, DefaultDrain when 0.
	Drain   time.Duration
	Metrics *Metrics
	Log     *zap.Logger
}

// DefaultDrain is often enough: the kernel remembers a connection for two
// minutes after its end.
const DefaultDrain = 10 * time.Second

// kernel is IPVS and the link of addresses.
type kernel interface {
	// Virtuals are all that there are.
	Virtuals() (map[Key]*Held, error)
	Do(o op) error
	// Connections of each server, those that have ended lately included.
	Connections(k Key) (map[netip.AddrPort]int, error)
	// Addresses of our link; NodeAddresses are those of all others.
	Addresses() (map[netip.Addr]bool, error)
	NodeAddresses() (map[netip.Addr]bool, error)
	Bind(a netip.Addr) error
	Unbind(a netip.Addr) error
	Close() error
}

// guard is the table beside IPVS.
type guard interface {
	Sync(u *compile.Update) error
	Check() error
	Close() error
}

// Proxy has services in IPVS.
type Proxy struct {
	o      Options
	kernel kernel
	guard  guard
	sticky string

	mu sync.Mutex
	// guarded by mu
	ready    bool // the memory is what the kernel has
	services map[string]*compile.Service
	networks []netip.Prefix // of node ports
	plan     planner
	marks    *marks
	claims   *claims
	has      map[Key]*Held
	bound    map[netip.Addr]bool
	local    map[netip.Addr]bool // the node's own addresses
	draining map[Key]map[netip.AddrPort]bool
}

// New makes a Proxy, and the kernel ready for it; services are as they were
// before the first Sync.
func New(o Options) (*Proxy, error) {
	if o.Scheduler == "" {
		o.Scheduler = "rr"
	}
	if err := prepare(&o); err != nil {
		return nil, err
	}
	k, err := open(&o)
	if err != nil {
		return nil, err
	}
	p := newProxy(o, k)
	if err := k.try(sourceHash); err != nil {
		p.sticky = o.Scheduler
		p.o.Log.Warn("clients inside the cluster have no affinity at external addresses of services with traffic policy Local", zap.String("module", "ip_vs_"+sourceHash), zap.Error(err))
	}
	g, err := nftables.NewGuard(o.Options, p)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	p.guard = g
	return p, nil
}

func newProxy(o Options, k kernel) *Proxy {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Drain == 0 {
		o.Drain = DefaultDrain
	}
	return &Proxy{o: o, kernel: k, sticky: sourceHash}
}

// Close gives sockets back; everything stays in the kernel.
func (p *Proxy) Close() error { return errors.Join(p.guard.Close(), p.kernel.Close()) }

// Mark implements nftables.Beside; it is called within Sync.
func (p *Proxy) Mark(f *compile.Frontend) uint32 { return p.marks.of(f) }

// Bound implements nftables.Beside; it is called within Sync.
func (p *Proxy) Bound(a netip.Addr) bool { return !p.local[a] }

var errNotReady = errors.New("IPVS must be written as a whole first")

// Sync makes the kernel as an update says. After an error the next update
// must be a full one: it starts from what the kernel has.
func (p *Proxy) Sync(u *compile.Update) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !u.Full && !p.ready {
		return errNotReady
	}
	p.ready = false
	if err := p.sync(u); err != nil {
		p.o.Metrics.failures.Inc()
		return err
	}
	p.ready = true
	p.o.Metrics.virtuals.Set(float64(len(p.has)))
	p.countDraining()
	return nil
}

func (p *Proxy) sync(u *compile.Update) error {
	if u.Full {
		if err := p.read(); err != nil {
			return err
		}
	}
	changes := u.Changes
	if u.Full || !slices.Equal(p.networks, u.NodePorts) {
		if err := p.readNodes(u.NodePorts); err != nil {
			return err
		}
		changes = p.withAll(changes)
	}
	touched := p.note(changes)
	if u.Full {
		touched = p.withHeld(touched)
	}
	var drops []op
	for _, k := range touched {
		for _, o := range diff(k, p.has[k], p.claims.virtual(k)) {
			if o.verb == dropVirtual {
				drops = append(drops, o)
			} else if err := p.do(o); err != nil {
				return err
			}
		}
		p.noteDraining(k)
	}
	// Traffic comes once everything is there for it, and goes before it ends.
	if err := p.guard.Sync(u); err != nil {
		return err
	}
	if err := p.bind(); err != nil {
		return err
	}
	for _, o := range drops {
		if err := p.do(o); err != nil {
			return err
		}
	}
	return nil
}

// read forgets all, and takes over what the kernel has.
func (p *Proxy) read() (err error) {
	p.services = map[string]*compile.Service{}
	p.marks = newMarks(p.o.Mark())
	p.claims = newClaims()
	_, err = os.Stat("/proc/sys/net/ipv6")
	p.plan = planner{scheduler: p.o.Scheduler, mark: p.marks.of, six: err == nil, sticky: p.sticky}
	p.draining = map[Key]map[netip.AddrPort]bool{}
	if p.has, err = p.kernel.Virtuals(); err != nil {
		return err
	}
	maps.DeleteFunc(p.has, func(k Key, _ *Held) bool {
		if k.Mark != 0 {
			return !p.marks.ours(k.Mark)
		}
		return excluded(p.o.Exclude, k.Addr)
	})
	if p.bound, err = p.kernel.Addresses(); err != nil {
		return err
	}
	for a := range p.bound {
		p.claims.moved[a] = true
	}
	return nil
}

func excluded(all []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(all, func(n netip.Prefix) bool { return n.Contains(a) })
}

// readNodes finds the node's addresses, and those of node ports among them.
func (p *Proxy) readNodes(networks []netip.Prefix) (err error) {
	if p.local, err = p.kernel.NodeAddresses(); err != nil {
		return err
	}
	p.networks = slices.Clone(networks)
	p.plan.nodes = nodePorts(p.local, networks)
	return nil
}

// nodePorts are the addresses of a node in networks, but for loopback ones:
// what goes there can't come back.
func nodePorts(local map[netip.Addr]bool, networks []netip.Prefix) (out []netip.Addr) {
	for a := range local {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() && slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) }) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// withAll adds the services that have not changed: their node ports are
// elsewhere now.
func (p *Proxy) withAll(changes []compile.Change) []compile.Change {
	changed := make(map[string]bool, len(changes))
	for i := range changes {
		changed[changes[i].Name] = true
	}
	out := slices.Clone(changes)
	for name, s := range p.services {
		if !changed[name] {
			out = append(out, compile.Change{Name: name, Old: s, New: s})
		}
	}
	return out
}

// withHeld adds what the kernel has.
func (p *Proxy) withHeld(touched []Key) []Key {
	for k := range p.has {
		touched = append(touched, k)
	}
	slices.SortFunc(touched, compareKeys)
	return slices.Compact(touched)
}

// note takes changes into memory, and gives the virtual servers that may
// differ in order.
func (p *Proxy) note(changes []compile.Change) []Key {
	touched := map[Key]bool{}
	for i := range changes {
		c := &changes[i]
		p.claims.release(c.Name, touched)
		p.marks.settle(p.services[c.Name], c.New)
		delete(p.services, c.Name)
	}
	for i := range changes {
		if c := &changes[i]; c.New != nil {
			p.services[c.Name] = c.New
			virtuals, addresses := p.plan.virtuals(c.New)
			p.claims.claim(c.Name, virtuals, addresses, touched)
		}
	}
	return slices.SortedFunc(maps.Keys(touched), compareKeys)
}

// do has the kernel carry out a change, and remembers it.
func (p *Proxy) do(o op) error {
	if err := p.kernel.Do(o); err != nil {
		return fmt.Errorf("IPVS: %s: %w", o, err)
	}
	p.o.Metrics.changes.Inc()
	switch o.verb {
	case addVirtual:
		p.has[o.key] = &Held{Scheduler: o.scheduler, Persist: o.persist, Servers: map[netip.AddrPort]int{}}
	case setVirtual:
		p.has[o.key].Scheduler, p.has[o.key].Persist = o.scheduler, o.persist
	case dropVirtual:
		delete(p.has, o.key)
		delete(p.draining, o.key)
	case addServer, weigh:
		p.has[o.key].Servers[o.server] = o.weight
	case dropServer:
		delete(p.has[o.key].Servers, o.server)
	}
	return nil
}

// bind gives the node the addresses of services, and takes back those of
// services that are gone. What is the node's anyway is left alone.
func (p *Proxy) bind() error {
	for a := range p.claims.moved {
		if err := p.bindOne(a); err != nil {
			return err
		}
	}
	clear(p.claims.moved)
	return nil
}

func (p *Proxy) bindOne(a netip.Addr) error {
	wanted := p.claims.addresses[a] > 0 && !p.local[a]
	switch {
	case wanted && !p.bound[a]:
		if err := p.kernel.Bind(a); err != nil {
			return fmt.Errorf("give the node the address %s of a service on %s: %w", a, Link, err)
		}
		p.bound[a] = true
	case !wanted && p.bound[a]:
		if err := p.kernel.Unbind(a); err != nil {
			return fmt.Errorf("take the address %s of a service from %s: %w", a, Link, err)
		}
		delete(p.bound, a)
	}
	return nil
}

// Check tells whether what Sync made is still there, and the node still has
// the addresses that it had.
func (p *Proxy) Check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.check()
	if err != nil {
		p.ready = false
	}
	return err
}

func (p *Proxy) check() error {
	if err := p.guard.Check(); err != nil {
		return err
	}
	bound, err := p.kernel.Addresses()
	if err != nil {
		return err
	}
	if !maps.Equal(bound, p.bound) {
		return fmt.Errorf("somebody changed the addresses of %s", Link)
	}
	local, err := p.kernel.NodeAddresses()
	if err != nil {
		return err
	}
	if !maps.Equal(local, p.local) {
		return errors.New("the node's addresses have changed")
	}
	// One of many stands for all: to list them takes a second at 10,000.
	for k := range p.has {
		if _, err := p.kernel.Connections(k); err != nil {
			return fmt.Errorf("somebody removed the virtual server %s: %w", k, err)
		}
		break
	}
	return nil
}

// Run removes servers that have gone once their connections have ended, until
// ctx ends.
func (p *Proxy) Run(ctx context.Context) error {
	tick := time.NewTicker(p.o.Drain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := p.drain(); err != nil {
				p.o.Log.Warn("servers that have gone are still in IPVS", zap.Error(err))
			}
		}
	}
}
