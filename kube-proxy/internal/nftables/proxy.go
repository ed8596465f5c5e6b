// Package nftables puts services into the kernel's nftables, flat: the rules
// depend on how many endpoints a frontend has, never on which, and all that
// is a Service's are elements of a few maps. A change is a handful of
// elements in one transaction, whatever the number of services.
//
// What the kernel has is kept in memory and not read back, but for what the
// kernel itself remembers of clients; one goroutine owns
// a Proxy.
package nftables

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"xebec.dev/kube-proxy/internal/compile"
)

// Options of a Proxy; the zero value works.
type Options struct {
	// Pods tells pods from others.
	Pods Pods
	// MarkBit marks packets whose source is replaced: 14, the one that
	// Kubernetes uses, when 0 is given.
	MarkBit int
	// Liberal keeps packets that connection tracking can't place.
	Liberal bool
}

// Pods says how packets of pods are told from others: by networks, or by the
// interface they come in by, or its name's beginning.
type Pods struct {
	Networks  []netip.Prefix
	Interface string
	Prefix    bool
}

func (p *Pods) unknown() bool { return len(p.Networks) == 0 && p.Interface == "" }

const defaultMarkBit = 14

// Mark is that of packets whose source is replaced.
func (o *Options) Mark() uint32 {
	if o.MarkBit == 0 {
		return 1 << defaultMarkBit
	}
	return 1 << o.MarkBit
}

// Proxy has our tables of both families.
type Proxy struct {
	o      Options
	sock   *socket
	tables []*table
	// ready is false while the kernel may have something else than the memory.
	ready bool
	ipvs  Beside // nil for a Proxy that does all itself
}

// New makes a Proxy; nothing is changed before the first Sync.
func New(o Options) (*Proxy, error) {
	s, err := dial()
	if err != nil {
		return nil, err
	}
	p := &Proxy{o: o, sock: s}
	for _, f := range families() {
		p.tables = append(p.tables, newTable(f, &p.o))
	}
	return p, nil
}

func families() []*family {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return []*family{ipv4}
	}
	return []*family{ipv4, ipv6}
}

// Close gives the socket back; the rules stay.
func (p *Proxy) Close() error { return p.sock.close() }

var errNotReady = errors.New("the tables must be written as a whole first")

// Sync makes the kernel as an update says. After an error the next update
// must be a full one.
func (p *Proxy) Sync(u *compile.Update) error {
	if !u.Full && !p.ready {
		return errNotReady
	}
	p.ready = false
	for i, t := range p.tables {
		if u.Full {
			t = newTable(t.f, &p.o)
			t.ipvs = p.ipvs
			p.tables[i] = t
		}
		if !u.Full && !t.concerns(u) {
			continue
		}
		b := p.sock.begin(t.f.number)
		if err := t.sync(u, b); err != nil {
			return err
		}
		if u.Full && p.ipvs == nil {
			// Who can't be remembered comes to an endpoint anew.
			if m, err := p.sock.memory(t.f); err == nil {
				t.remember(m, b)
			}
		}
		if b.empty() {
			continue
		}
		if err := p.sock.commit(b); err != nil {
			return fmt.Errorf("table %s of IPv%s: %w", tableName, t.f, err)
		}
	}
	p.ready = true
	return nil
}

// concerns tells whether an update has anything for the table.
func (t *table) concerns(u *compile.Update) bool {
	has := func(s *compile.Service) bool {
		return s != nil && slices.ContainsFunc(s.Frontends, func(f compile.Frontend) bool { return f.V4 == t.f.v4 })
	}
	return !slices.Equal(t.networks, u.NodePorts) ||
		slices.ContainsFunc(u.Changes, func(c compile.Change) bool { return has(c.Old) || has(c.New) })
}

func (f *family) String() string {
	if f.v4 {
		return "4"
	}
	return "6"
}

func (t *table) sync(u *compile.Update, b *batch) error {
	if u.Full {
		skeleton := t.f.skeleton
		if t.ipvs != nil {
			skeleton = t.f.guard
		}
		if err := skeleton(b, t.o); err != nil {
			return err
		}
	}
	if u.Full || !slices.Equal(t.networks, u.NodePorts) {
		w := &writer{b: b, f: t.f, o: t.o, ipvs: t.ipvs != nil}
		if w.addresses(u.NodePorts); w.err != nil {
			return w.err
		}
		t.networks = slices.Clone(u.NodePorts)
	}
	return t.apply(u.Changes, b)
}

// Check tells whether the tables are still there: others may have removed
// them.
func (p *Proxy) Check() error {
	for _, t := range p.tables {
		found, err := p.sock.has(t.f.number)
		if err != nil {
			return err
		}
		if !found {
			p.ready = false
			return fmt.Errorf("somebody removed the table %s of IPv%s", tableName, t.f)
		}
	}
	return nil
}

// Cleanup removes our tables.
func Cleanup() error {
	s, err := dial()
	if err != nil {
		return err
	}
	defer s.close()
	var errs []error
	for _, f := range families() {
		found, err := s.has(f.number)
		if err == nil && found {
			err = s.remove(f)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
