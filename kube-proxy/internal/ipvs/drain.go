package ipvs

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// noteDraining remembers which servers of a virtual server take no more
// connections.
func (p *Proxy) noteDraining(k Key) {
	delete(p.draining, k)
	has, want := p.has[k], p.claims.virtual(k)
	if has == nil || want == nil {
		return
	}
	for s, weight := range has.Servers {
		if weight == 0 {
			if p.draining[k] == nil {
				p.draining[k] = map[netip.AddrPort]bool{}
			}
			p.draining[k][s] = true
		}
	}
}

func (p *Proxy) countDraining() {
	n := 0
	for _, all := range p.draining {
		n += len(all)
	}
	p.o.Metrics.draining.Set(float64(n))
}

// drain removes the servers without connections among those that go.
func (p *Proxy) drain() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready {
		return nil // the next full update knows them
	}
	var errs []error
	for _, k := range slices.SortedFunc(maps.Keys(p.draining), compareKeys) {
		if err := p.drainOne(k); err != nil {
			errs = append(errs, err)
		}
	}
	p.countDraining()
	if err := errors.Join(errs...); err != nil {
		p.ready = false
		return err
	}
	return nil
}

func (p *Proxy) drainOne(k Key) error {
	connections, err := p.kernel.Connections(k)
	if err != nil {
		return fmt.Errorf("connections of %s: %w", k, err)
	}
	for s := range p.draining[k] {
		if connections[s] > 0 {
			continue
		}
		if err := p.do(op{verb: dropServer, key: k, server: s}); err != nil {
			return err
		}
		delete(p.draining[k], s)
	}
	if len(p.draining[k]) == 0 {
		delete(p.draining, k)
	}
	return nil
}
