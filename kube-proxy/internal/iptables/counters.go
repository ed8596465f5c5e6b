package iptables

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"xebec.dev/kube-proxy/internal/nfacct"
)

// Counters of the kernel's that rules count packets in, by the names that
// Kubernetes gives them.
const (
	counterInvalid  = "ct_state_invalid_dropped_pkts"
	counterLoopback = "localhost_nps_accepted_pkts"
)

// probe is the chain that tries whether rules can count; it is there for a
// moment.
const probe = "KUBE-PROXY-NFACCT"

// counted is the match that counts, where the kernel can.
func (o *Options) counted(name string) string {
	if !o.counts {
		return ""
	}
	return "-m nfacct --nfacct-name " + name + " "
}

// count has rules count packets if the kernel, and the programs, can. The
// counters alone prove nothing: the match is another module. A rule with a
// match that is not there would make every write fail.
func (p *Proxy) count(log *zap.Logger) {
	err := p.ensure()
	for _, f := range p.families {
		if err == nil {
			err = p.tryCount(f)
		}
	}
	if err != nil {
		log.Info("packets that rules drop or take are not counted: iptables' match nfacct does not work here", zap.Error(err))
		return
	}
	p.o.counts = true
}

// ensure makes the counters that are not there: others may have taken them away
// with the rules that used them.
func (p *Proxy) ensure() (err error) {
	if !p.o.Liberal {
		err = nfacct.Ensure(counterInvalid)
	}
	if p.o.LocalhostNodePorts {
		err = errors.Join(err, nfacct.Ensure(counterLoopback))
	}
	return err
}

func (p *Proxy) tryCount(f *family) error {
	name := counterInvalid
	if p.o.Liberal {
		name = counterLoopback
	}
	if p.o.Liberal && !p.o.LocalhostNodePorts {
		return nil // nothing is counted
	}
	restore := func(script string) error {
		_, err := p.run(fmt.Sprintf("*filter\n:%s - [0:0]\n%sCOMMIT\n", probe, script), program(f.v4, "-restore"), "-w", wait, "--noflush")
		return err
	}
	// In two runs: the legacy variant gives the kernel only what is left at the end.
	err := restore(fmt.Sprintf("-A %s -m nfacct --nfacct-name %s\n", probe, name))
	return errors.Join(err, restore(fmt.Sprintf("-X %s\n", probe)))
}

// packets are the kernel's counters as metrics; one that is not there is left
// out.
type packets []struct {
	counter string
	desc    *prometheus.Desc
}

func newPackets() packets {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("kubeproxy_iptables_"+name, help, nil, nil)
	}
	return packets{
		{counterInvalid, desc("ct_state_invalid_dropped_packets_total", "packets dropped by iptables to work around conntrack problems")},
		{counterLoopback, desc("localhost_nodeports_accepted_packets_total", "Number of packets accepted on nodeports of loopback interface")},
	}
}

// Describe implements prometheus.Collector.
func (p packets) Describe(ch chan<- *prometheus.Desc) {
	for i := range p {
		ch <- p[i].desc
	}
}

// Collect implements prometheus.Collector.
func (p packets) Collect(ch chan<- prometheus.Metric) {
	for i := range p {
		if n, err := nfacct.Packets(p[i].counter); err == nil {
			ch <- prometheus.MustNewConstMetric(p[i].desc, prometheus.CounterValue, float64(n))
		}
	}
}
