// Package metrics has the server's metrics, by upstream's names.
package metrics

import (
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"xebec.dev/apiserver/internal/request"
)

// Metrics are the server's own; New registers them.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inflight *prometheus.GaugeVec
	longrun  *prometheus.GaugeVec
	rejected *prometheus.CounterVec
}

// New makes the metrics in a registry of their own.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_request_total",
			Help: "Requests by verb, resource and code.",
		}, []string{"verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_request_duration_seconds",
			Help: "Seconds from arrival to answer, watches aside.",
			Buckets: []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3,
				4, 5, 6, 8, 10, 15, 20, 30, 45, 60},
		}, []string{"verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component"}),
		inflight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "apiserver_current_inflight_requests",
			Help: "Requests being served, by kind.",
		}, []string{"request_kind"}),
		longrun: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "apiserver_longrunning_requests",
			Help: "Watches and streams being served.",
		}, []string{"verb", "group", "version", "resource", "subresource", "scope", "component"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_dropped_requests_total",
			Help: "Requests refused with 429.",
		}, []string{"request_kind"}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "kubernetes_build_info",
		Help: "1, labelled with the build.",
	}, []string{"git_version", "go_version", "major", "minor"})
	goVersion := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
	}
	build.WithLabelValues(version, goVersion, "1", "37").Set(1)
	m.registry.MustRegister(m.requests, m.duration, m.inflight, m.longrun, m.rejected, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registerer takes the metrics of other packages.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// Handler serves /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Observe counts one request that has been answered. Labels come from the
// table of resources, never from what a client typed, so that their number is
// bounded.
func (m *Metrics) Observe(r *request.Request, known bool, code int) {
	i := &r.Info
	verb, group, version, resource, sub, scope := i.Verb, i.Group, i.Version, i.Resource, i.Subresource, scopeOf(i)
	if !known {
		verb, group, version, resource, sub = "other", "", "", "", ""
	}
	verb = verbLabel(verb)
	m.requests.WithLabelValues(verb, "", group, version, resource, sub, scope, "apiserver", strconv.Itoa(code)).Inc()
	if verb != "WATCH" && verb != "CONNECT" {
		m.duration.WithLabelValues(verb, "", group, version, resource, sub, scope, "apiserver").Observe(time.Since(r.Received).Seconds())
	}
	if code == http.StatusTooManyRequests {
		m.rejected.WithLabelValues(kindOf(i.Verb)).Inc()
	}
}

// InFlight adjusts the number of requests being served.
func (m *Metrics) InFlight(mutating bool, by float64) {
	kind := "readOnly"
	if mutating {
		kind = "mutating"
	}
	m.inflight.WithLabelValues(kind).Add(by)
}

func kindOf(verb string) string {
	switch verb {
	case "get", "list", "watch":
		return "readOnly"
	}
	return "mutating"
}

var verbLabels = map[string]string{
	"get": "GET", "list": "LIST", "watch": "WATCH", "create": "POST", "update": "PUT", "patch": "PATCH",
	"delete": "DELETE", "deletecollection": "DELETECOLLECTION", "post": "POST", "put": "PUT", "head": "HEAD", "connect": "CONNECT",
}

func verbLabel(verb string) string {
	if l := verbLabels[verb]; l != "" {
		return l
	}
	return "OTHER"
}

func scopeOf(i *request.Info) string {
	switch {
	case !i.IsResource:
		return ""
	case i.Name != "":
		return "resource"
	case i.Namespace != "":
		return "namespace"
	}
	return "cluster"
}
