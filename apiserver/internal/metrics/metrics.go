// Package metrics has the server's metrics, by upstream's names.
package metrics

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"xebec.dev/apiserver/internal/version"
)

// Metrics are the server's own; New registers them.
type Metrics struct {
	registry *prometheus.Registry
	requests requestMetrics
	watches  watchMetrics
	etcd     etcdMetrics
	inflight *prometheus.GaugeVec
	tls      prometheus.Counter
}

// New makes the metrics in a registry of their own.
func New(v version.Info) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: newRequestMetrics(),
		watches:  newWatchMetrics(),
		etcd:     newEtcdMetrics(),
		inflight: gauges("apiserver_current_inflight_requests", "Requests being served, by kind.", "request_kind"),
		tls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apiserver_tls_handshake_errors_total", Help: "TLS handshakes that failed.",
		}),
	}
	// Nobody waits here: who finds no place is refused.
	queued := gauges("apiserver_current_inqueue_requests", "Requests that wait for a place: none, by kind.", "request_kind")
	for _, kind := range []string{readOnly, mutating} {
		m.inflight.WithLabelValues(kind)
		queued.WithLabelValues(kind)
	}
	build := gauges("kubernetes_build_info", "1, labelled with the build.",
		"major", "minor", "git_version", "git_commit", "git_tree_state", "build_date", "go_version", "compiler", "platform")
	build.WithLabelValues(v.Major, v.Minor, v.GitVersion, v.GitCommit, v.GitTreeState, v.BuildDate, v.GoVersion, v.Compiler, v.Platform).Set(1)
	m.registry.MustRegister(m.inflight, queued, build, m.tls, m.etcd.duration, m.etcd.total, m.etcd.errors, m.watches.sent,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.requests.register(m.registry)
	return m
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// Registerer takes the metrics of other packages.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// Handler serves /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(oldNames{m.registry}, promhttp.HandlerOpts{})
}

// oldNames gives what has been renamed under its former name, too.
type oldNames struct{ prometheus.Gatherer }

const (
	sliName = "apiserver_request_sli_duration_seconds"
	sloName = "apiserver_request_slo_duration_seconds"
)

func (g oldNames) Gather() ([]*dto.MetricFamily, error) {
	all, err := g.Gatherer.Gather()
	for i, f := range all {
		if f.GetName() == sliName {
			old := &dto.MetricFamily{Name: proto.String(sloName), Help: f.Help, Type: f.Type, Metric: f.Metric}
			return slices.Insert(all, i+1, old), err
		}
	}
	return all, err
}

// HandshakeErrors is a log of a server of HTTP that counts the handshakes
// that failed.
func (m *Metrics) HandshakeErrors(next interface{ Write([]byte) (int, error) }) *HandshakeErrors {
	return &HandshakeErrors{next: next, count: m.tls}
}

// HandshakeErrors counts lines about handshakes.
type HandshakeErrors struct {
	mu    sync.Mutex
	next  interface{ Write([]byte) (int, error) }
	count prometheus.Counter
}

func (h *HandshakeErrors) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "TLS handshake error") {
		h.count.Inc()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next.Write(line)
}
