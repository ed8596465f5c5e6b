package state

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xebec.dev/kube-proxy/internal/compile"
)

// Metrics by Kubernetes' names.
type Metrics struct {
	families                       []string // IPv4, IPv6: both are changed in one go
	services, endpoints            changes
	failures                       *prometheus.CounterVec
	queued, last                   *prometheus.GaugeVec
	all, full, partial, programmed *prometheus.HistogramVec
	changed                        prometheus.Counter
	noLocal                        *prometheus.GaugeVec

	gauges    map[*prometheus.GaugeVec]*[2]atomic.Pointer[prometheus.Gauge]
	observers map[*prometheus.HistogramVec]*[2]atomic.Pointer[prometheus.Observer]
}

// gauge of a family: to find it by its labels for each change takes long.
func (m *Metrics) gauge(v *prometheus.GaugeVec, family int) prometheus.Gauge {
	at := &m.gauges[v][family]
	if g := at.Load(); g != nil {
		return *g
	}
	g := v.WithLabelValues(m.families[family])
	at.Store(&g)
	return g
}

func (m *Metrics) observer(v *prometheus.HistogramVec, family int) prometheus.Observer {
	at := &m.observers[v][family]
	if o := at.Load(); o != nil {
		return *o
	}
	o := v.WithLabelValues(m.families[family])
	at.Store(&o)
	return o
}

// changes of one kind of object: those that came, and those of them that wait.
type changes struct {
	total   prometheus.Counter
	waiting atomic.Int64
	pending prometheus.GaugeFunc
}

func (c *changes) note() {
	c.total.Inc()
	c.waiting.Add(1)
}

const (
	v4 = "IPv4"
	v6 = "IPv6"
)

// NewMetrics makes metrics, to be registered by the caller.
func NewMetrics() *Metrics {
	const ns = "kubeproxy"
	family := []string{"ip_family"}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Name: name, Help: help}, append(labels, family...))
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Name: name, Help: help, Buckets: buckets}, family)
	}
	// Changes take far less here than where Kubernetes' buckets begin, at 1 ms.
	short := append([]float64{0.0001, 0.0002, 0.0005}, prometheus.ExponentialBuckets(0.001, 2, 15)...)
	long := append([]float64{0.005, 0.01, 0.02, 0.05, 0.1}, prometheus.LinearBuckets(0.25, 0.25, 3)...)
	long = append(append(append(long, prometheus.LinearBuckets(1, 1, 59)...), prometheus.LinearBuckets(60, 5, 12)...), prometheus.LinearBuckets(120, 30, 7)...)
	m := &Metrics{
		families: []string{v4},
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "sync_proxy_rules_nftables_sync_failures_total", Help: "Cumulative proxy nftables sync failures",
		}, family),
		changed:    prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "sync_proxy_rules_changed_services_total", Help: "Services whose rules changed"}),
		queued:     gauge("sync_proxy_rules_last_queued_timestamp_seconds", "The last time a sync of proxy rules was queued"),
		last:       gauge("sync_proxy_rules_last_timestamp_seconds", "The last time proxy rules were successfully synced"),
		all:        histogram("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", short),
		full:       histogram("sync_full_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for full resyncs", short),
		partial:    histogram("sync_partial_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for partial resyncs", short),
		noLocal:    gauge("sync_proxy_rules_no_local_endpoints_total", "Number of services with a Local traffic policy and no endpoints", "traffic_policy"),
		programmed: histogram("network_programming_duration_seconds", "In Cluster Network Programming Latency in seconds", long),
	}
	m.gauges, m.observers = map[*prometheus.GaugeVec]*[2]atomic.Pointer[prometheus.Gauge]{}, map[*prometheus.HistogramVec]*[2]atomic.Pointer[prometheus.Observer]{}
	for _, v := range []*prometheus.GaugeVec{m.queued, m.last} {
		m.gauges[v] = &[2]atomic.Pointer[prometheus.Gauge]{}
	}
	for _, v := range []*prometheus.HistogramVec{m.all, m.full, m.partial, m.programmed} {
		m.observers[v] = &[2]atomic.Pointer[prometheus.Observer]{}
	}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err == nil {
		m.families = append(m.families, v6)
	}
	m.services.init(ns, "service", "Service")
	m.endpoints.init(ns, "endpoint", "Endpoint")
	return m
}

func (c *changes) init(ns, name, kind string) {
	c.total = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: ns, Name: "sync_proxy_rules_" + name + "_changes_total", Help: "Cumulative proxy rules " + kind + " changes",
	})
	c.pending = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: ns, Name: "sync_proxy_rules_" + name + "_changes_pending", Help: "Pending proxy rules " + kind + " changes",
	}, func() float64 { return float64(c.waiting.Load()) })
}

// pending is what a sync that begins now takes in, for settled.
func (m *Metrics) pending() [2]int64 {
	return [2]int64{m.services.waiting.Load(), m.endpoints.waiting.Load()}
}

func (m *Metrics) settled(done [2]int64) {
	m.services.waiting.Add(-done[0])
	m.endpoints.waiting.Add(-done[1])
}

func (m *Metrics) failed() {
	for _, f := range m.families {
		m.failures.WithLabelValues(f).Inc()
	}
}

func (m *Metrics) now(g *prometheus.GaugeVec) {
	now := float64(time.Now().UnixNano()) / 1e9
	for f := range m.families {
		m.gauge(g, f).Set(now)
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
	return []prometheus.Collector{m.services.total, m.services.pending, m.endpoints.total, m.endpoints.pending, m.failures, m.changed, m.queued, m.last, m.all, m.full, m.partial, m.programmed, m.noLocal}
}

func (m *Metrics) synced(u *compile.Update, started time.Time, triggers []time.Time) {
	now := time.Now()
	took := now.Sub(started).Seconds()
	for f := range m.families {
		m.observer(m.all, f).Observe(took)
		if u.Full {
			m.observer(m.full, f).Observe(took)
			continue
		}
		m.observer(m.partial, f).Observe(took)
		// What happened before the start was not ours to be quick about.
		programmed := m.observer(m.programmed, f)
		for _, t := range triggers {
			programmed.Observe(now.Sub(t).Seconds())
		}
	}
	m.changed.Add(float64(len(u.Changes)))
	for _, f := range m.families {
		m.countLocal(u, f)
	}
}

// countLocal counts the ports with policy Local that the node has no endpoint
// for, though others have.
func (m *Metrics) countLocal(u *compile.Update, family string) {
	in, out := 0, 0
	for i := range u.Changes {
		c := &u.Changes[i]
		wasIn, wasOut := withoutLocal(c.Old, family == v4)
		isIn, isOut := withoutLocal(c.New, family == v4)
		in, out = in+isIn-wasIn, out+isOut-wasOut
	}
	if !u.Full && in == 0 && out == 0 {
		return // which is so of most changes
	}
	inside, outside := m.noLocal.WithLabelValues("internal", family), m.noLocal.WithLabelValues("external", family)
	if u.Full {
		inside.Set(0)
		outside.Set(0)
	}
	inside.Add(float64(in))
	outside.Add(float64(out))
}

func withoutLocal(s *compile.Service, v4 bool) (inside, outside int) {
	if s == nil {
		return 0, 0
	}
	// A port has one cluster IP of each family, but may have many others.
	var seen map[place]bool
	nodePorts := 0
	for i := range s.Frontends {
		f := &s.Frontends[i]
		switch {
		case f.V4 != v4:
		case f.Kind == compile.ClusterIP && elsewhere(&f.Pool):
			inside++
		case f.Kind == compile.External && f.Outside != nil && elsewhere(f.Outside):
			if seen == nil {
				seen = map[place]bool{}
			}
			seen[place{port: f.Port, protocol: f.Protocol, v4: f.V4}] = true
		case f.Kind == compile.NodePort && f.Outside != nil && elsewhere(f.Outside):
			nodePorts++
		}
	}
	return inside, max(nodePorts, len(seen))
}

// elsewhere tells that there are endpoints, which policy forbids.
func elsewhere(p *compile.Pool) bool { return len(p.Backends) == 0 && p.Missing == compile.Drop }
