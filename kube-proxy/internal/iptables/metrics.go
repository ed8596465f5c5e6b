package iptables

import "github.com/prometheus/client_golang/prometheus"

// Metrics by Kubernetes' names.
type Metrics struct {
	total, last       *prometheus.GaugeVec
	failures, partial *prometheus.CounterVec
	packets           packets
}

// NewMetrics makes metrics, to be registered by the caller.
func NewMetrics() *Metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "kubeproxy", Name: name, Help: help}, []string{"table", "ip_family"})
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "kubeproxy", Name: name, Help: help}, []string{"ip_family"})
	}
	return &Metrics{
		packets:  newPackets(),
		total:    gauge("sync_proxy_rules_iptables_total", "Total number of iptables rules owned by kube-proxy"),
		last:     gauge("sync_proxy_rules_iptables_last", "Number of iptables rules written by kube-proxy in last sync"),
		failures: counter("sync_proxy_rules_iptables_restore_failures_total", "Cumulative proxy iptables restore failures"),
		partial:  counter("sync_proxy_rules_iptables_partial_restore_failures_total", "Cumulative proxy iptables partial restore failures"),
	}
}

// Collectors are the metrics.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.total, m.last, m.failures, m.partial, m.packets}
}

func (m *Metrics) failed(f *family, full bool) {
	of := m.partial
	if full {
		of = m.failures
	}
	of.WithLabelValues(f.String()).Inc()
}

func (m *Metrics) synced(f *family, scripts []*script) {
	fixed := base(f.v4, f.o, f.networks)
	for _, table := range []string{nat, filter} {
		n := f.rules[table]
		for _, c := range fixed[table] {
			n += len(c.rules)
		}
		if table == nat {
			n += len(toNodePorts(f.v4, f.o, f.networks))
		}
		for _, j := range jumpsOf(f.v4, f.o, f.networks) {
			if j.table == table {
				n++
			}
		}
		m.total.WithLabelValues(table, f.String()).Set(float64(n))
		written := 0
		for _, s := range scripts {
			written += s.table(table).written
		}
		m.last.WithLabelValues(table, f.String()).Set(float64(written))
	}
}
