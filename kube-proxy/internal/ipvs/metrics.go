package ipvs

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the mode; Kubernetes has none of its own for it.
type Metrics struct {
	failures, changes  prometheus.Counter
	virtuals, draining prometheus.Gauge
}

// NewMetrics makes metrics, to be registered by the caller.
func NewMetrics() *Metrics {
	const ns = "kubeproxy"
	return &Metrics{
		failures: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "sync_proxy_rules_ipvs_sync_failures_total", Help: "Cumulative proxy IPVS sync failures"}),
		changes:  prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "ipvs_changes_total", Help: "Changes of virtual and real servers"}),
		virtuals: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Name: "ipvs_virtual_servers", Help: "Virtual servers of services"}),
		draining: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Name: "ipvs_draining_real_servers", Help: "Real servers that have gone and still have connections"}),
	}
}

// Collectors are the metrics.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.failures, m.changes, m.virtuals, m.draining}
}
