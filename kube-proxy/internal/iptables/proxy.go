// Package iptables puts services into the kernel by the programs of iptables,
// in the chains that Kubernetes has them in: people and other programs look
// for those. A change writes the chains of the services that changed; the
// chains that lead to all services only where they change.
//
// What the kernel has is kept in memory; one goroutine owns a Proxy.
package iptables

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.uber.org/zap"

	"xebec.dev/kube-proxy/internal/compile"
)

// Proxy has the rules of both families.
type Proxy struct {
	o        Options
	run      runner
	families []*family
	metrics  *Metrics
	// most chains are written at once; 0 is all.
	most int
	// ready is false while the kernel may have something else than the memory.
	ready bool
}

// New makes a Proxy; nothing is changed before the first Sync.
func New(o Options, m *Metrics, log *zap.Logger) (*Proxy, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	p := &Proxy{o: o, run: execute, metrics: m}
	if version, err := p.run("", program(true, ""), "--version"); err != nil {
		return nil, err
	} else if strings.Contains(version, "nf_tables") {
		p.most = mostChains
	}
	for _, v4 := range []bool{true, false} {
		if _, err := p.run("", program(v4, ""), "-w", wait, "-t", nat, "-S", "POSTROUTING"); err != nil {
			if v4 || ipv6() {
				log.Warn("a family has no services: its table nat can't be read", zap.Bool("ipv4", v4), zap.Error(err))
			}
			continue
		}
		p.families = append(p.families, newFamily(v4, &p.o))
	}
	if len(p.families) == 0 {
		return nil, errors.New("mode iptables: the kernel's table nat can't be read in either family")
	}
	p.count(log)
	return p, nil
}

// mostChains are written by the nft variant at once. It looks for the chain of
// every line in a list of those before it, so that 32,000 rules in 11,000
// chains take it 6 s; each run has its own list. The legacy variant writes the
// whole table in any case.
const mostChains = 600

func ipv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

var errNotReady = errors.New("the rules must be written as a whole first")

// Sync makes the kernel as an update says. After an error the next update
// must be a full one.
func (p *Proxy) Sync(u *compile.Update) error {
	if !u.Full && !p.ready {
		return errNotReady
	}
	p.ready = false
	if u.Full && p.o.counts && p.ensure() != nil {
		p.o.counts = false // rules that name a counter that is not there can't be written
	}
	for i, f := range p.families {
		if u.Full {
			f = newFamily(f.v4, &p.o)
			p.families[i] = f
		}
		if err := p.family(f, u); err != nil {
			p.metrics.failed(f, u.Full)
			return fmt.Errorf("write rules of %s: %w", f, err)
		}
	}
	p.ready = true
	return nil
}

func (p *Proxy) family(f *family, u *compile.Update) error {
	whole := u.Full || !slices.Equal(f.networks, u.NodePorts)
	f.networks = slices.Clone(u.NodePorts)
	parts := f.change(u.Changes)
	if whole {
		text, err := p.run("", program(f.v4, "-save"))
		if err != nil {
			return err
		}
		parts = f.all(parseSaved(text))
	}
	scripts := packed(parts, p.most)
	for _, s := range scripts {
		if s.empty() {
			continue
		}
		if _, err := p.run(s.String(), program(f.v4, "-restore"), "-w", wait, "--noflush", "--counters"); err != nil {
			return err
		}
	}
	p.metrics.synced(f, scripts)
	return nil
}

// Check tells whether the chains are still there: others may have flushed
// them.
func (p *Proxy) Check() error {
	for _, f := range p.families {
		for _, table := range order {
			if _, err := p.run("", program(f.v4, ""), "-w", wait, "-t", table, "-S", canary); err != nil {
				p.ready = false
				return fmt.Errorf("somebody flushed the table %s of %s: %w", table, f, err)
			}
		}
	}
	return nil
}
