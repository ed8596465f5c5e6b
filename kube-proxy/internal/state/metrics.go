package state

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xebec.dev/kube-proxy/internal/compile"
)

// Metrics by Kubernetes' names.
type Metrics struct {
	services, endpoints, failures  prometheus.Counter
	queued, last                   prometheus.Gauge
	all, full, partial, programmed prometheus.Histogram
	changed                        prometheus.Counter
	noLocal                        *prometheus.GaugeVec
}

// NewMetrics makes metrics, to be registered by the caller.
func NewMetrics() *Metrics {
	const ns = "kubeproxy"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Name: name, Help: help, Buckets: buckets})
	}
	// Changes take far less here than where Kubernetes' buckets begin, at 1 ms.
	short := append([]float64{0.0001, 0.0002, 0.0005}, prometheus.ExponentialBuckets(0.001, 2, 15)...)
	long := append([]float64{0.005, 0.01, 0.02, 0.05, 0.1}, prometheus.LinearBuckets(0.25, 0.25, 3)...)
	long = append(append(append(long, prometheus.LinearBuckets(1, 1, 59)...), prometheus.LinearBuckets(60, 5, 12)...), prometheus.LinearBuckets(120, 30, 7)...)
	return &Metrics{
		services:  counter("sync_proxy_rules_service_changes_total", "Cumulative proxy rules Service changes"),
		endpoints: counter("sync_proxy_rules_endpoint_changes_total", "Cumulative proxy rules Endpoint changes"),
		failures:  counter("sync_proxy_rules_nftables_sync_failures_total", "Cumulative proxy nftables sync failures"),
		changed:   counter("sync_proxy_rules_changed_services_total", "Services whose rules changed"),
		queued:    gauge("sync_proxy_rules_last_queued_timestamp_seconds", "The last time a sync of proxy rules was queued"),
		last:      gauge("sync_proxy_rules_last_timestamp_seconds", "The last time proxy rules were successfully synced"),
		all:       histogram("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", short),
		full:      histogram("sync_full_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for full resyncs", short),
		partial:   histogram("sync_partial_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for partial resyncs", short),
		noLocal: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: ns, Name: "sync_proxy_rules_no_local_endpoints_total", Help: "Number of services with a Local traffic policy and no endpoints",
		}, []string{"traffic_policy"}),
		programmed: histogram("network_programming_duration_seconds", "In Cluster Network Programming Latency in seconds", long),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(ch)
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.services, m.endpoints, m.failures, m.changed, m.queued, m.last, m.all, m.full, m.partial, m.programmed, m.noLocal}
}

func (m *Metrics) synced(u *compile.Update, started time.Time, triggers []time.Time) {
	now := time.Now()
	took := now.Sub(started).Seconds()
	m.all.Observe(took)
	if u.Full {
		m.full.Observe(took)
	} else {
		m.partial.Observe(took)
		// What happened before the start was not ours to be quick about.
		for _, t := range triggers {
			m.programmed.Observe(now.Sub(t).Seconds())
		}
	}
	m.changed.Add(float64(len(u.Changes)))
	m.countLocal(u)
}

// countLocal counts the ports with policy Local that the node has no endpoint
// for, though others have.
func (m *Metrics) countLocal(u *compile.Update) {
	inside, outside := m.noLocal.WithLabelValues("internal"), m.noLocal.WithLabelValues("external")
	if u.Full {
		inside.Set(0)
		outside.Set(0)
	}
	for i := range u.Changes {
		c := &u.Changes[i]
		wasIn, wasOut := withoutLocal(c.Old)
		in, out := withoutLocal(c.New)
		inside.Add(float64(in - wasIn))
		outside.Add(float64(out - wasOut))
	}
}

func withoutLocal(s *compile.Service) (inside, outside int) {
	if s == nil {
		return 0, 0
	}
	// A port has one cluster IP of each family, but may have many others.
	seen := map[place]bool{}
	for i := range s.Frontends {
		f := &s.Frontends[i]
		switch {
		case f.Kind == compile.ClusterIP && elsewhere(&f.Pool):
			inside++
		case f.Kind == compile.External && f.Outside != nil && elsewhere(f.Outside):
			seen[place{port: f.Port, protocol: f.Protocol, v4: f.V4}] = true
		}
	}
	nodePorts := 0
	for i := range s.Frontends {
		if f := &s.Frontends[i]; f.Kind == compile.NodePort && f.Outside != nil && elsewhere(f.Outside) {
			nodePorts++
		}
	}
	return inside, max(nodePorts, len(seen))
}

// elsewhere tells that there are endpoints, which policy forbids.
func elsewhere(p *compile.Pool) bool { return len(p.Backends) == 0 && p.Missing == compile.Drop }
