package metrics

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xebec.dev/apiserver/internal/request"
)

const (
	readOnly = "readOnly"
	mutating = "mutating"
	// component is the label of all requests.
	component = "apiserver"
)

// requestMetrics tell of requests. Those of one kind share a series, found by
// one look-up: twelve labels are too many to hash for each metric.
type requestMetrics struct {
	total                        *prometheus.CounterVec
	duration, sli, sizes, bodies *prometheus.HistogramVec
	longRunning, deprecated      *prometheus.GaugeVec
	dropped                      *prometheus.CounterVec

	mu     sync.RWMutex
	series map[seriesKey]*series // guarded by mu
}

type labels struct{ verb, group, version, resource, subresource, scope string }

type seriesKey struct {
	labels
	dryRun bool
	code   int
}

type series struct {
	total                        prometheus.Counter
	duration, sli, sizes, bodies prometheus.Observer // nil where they say nothing
}

func newRequestMetrics() requestMetrics {
	latency := []float64{0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60}
	of := []string{"verb", "group", "version", "resource", "subresource", "scope", "component"}
	return requestMetrics{
		series: map[seriesKey]*series{},
		total: counters("apiserver_request_total", "Requests by verb, resource and code.",
			"verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code"),
		duration: histograms("apiserver_request_duration_seconds", "Seconds from arrival to answer, watches aside.",
			append([]float64{0.005, 0.025}, latency...), "verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component"),
		sli:         histograms(sliName, "Seconds from arrival to answer, without what others take of them, watches aside.", latency, of...),
		sizes:       histograms("apiserver_response_sizes", "Bytes of answers to reads.", prometheus.ExponentialBuckets(1000, 10, 7), of...),
		bodies:      histograms("apiserver_request_body_size_bytes", "Bytes of request bodies.", prometheus.LinearBuckets(50000, 100000, 31), "group", "resource", "verb"),
		longRunning: gauges("apiserver_longrunning_requests", "Watches and streams being served.", of...),
		deprecated: gauges("apiserver_requested_deprecated_apis", "1 for each deprecated API that was asked for.",
			"group", "version", "resource", "subresource", "removed_release"),
		dropped: counters("apiserver_dropped_requests_total", "Requests refused with 429.", "request_kind"),
	}
}

func (m *requestMetrics) register(r prometheus.Registerer) {
	r.MustRegister(m.total, m.duration, m.sli, m.sizes, m.bodies, m.longRunning, m.deprecated, m.dropped)
}

// Observe counts one request that has been answered. Labels come from the
// table of resources, never from what a client typed, so that their number is
// bounded: known says that resource and subresource are in the table.
func (m *Metrics) Observe(r *request.Request, known bool, code int) {
	s := m.requests.of(seriesKey{labelsOf(r, known), r.DryRun, code})
	s.total.Inc()
	if s.duration != nil {
		seconds := time.Since(r.Received).Seconds()
		s.duration.Observe(seconds)
		s.sli.Observe(seconds)
	}
	if s.sizes != nil {
		s.sizes.Observe(float64(r.AnswerBytes))
	}
	if r.BodyBytes > 0 && s.bodies != nil {
		s.bodies.Observe(float64(r.BodyBytes))
	}
	if code == http.StatusTooManyRequests {
		m.requests.dropped.WithLabelValues(kindOf(r.Verb)).Inc()
	}
}

// Deprecated notes that a deprecated API was asked for; warning is what its
// clients are told, which names the release that is without it.
func (m *Metrics) Deprecated(i *request.Info, warning string) {
	removed := ""
	if _, after, ok := strings.Cut(warning, "unavailable in v"); ok {
		removed, _, _ = strings.Cut(after, "+")
	}
	m.requests.deprecated.WithLabelValues(i.Group, i.Version, i.Resource, i.Subresource, removed).Set(1)
}

// LongRunning counts watches and streams that begin and end.
func (m *Metrics) LongRunning(r *request.Request, known bool, by float64) {
	l := labelsOf(r, known)
	m.requests.longRunning.WithLabelValues(l.verb, l.group, l.version, l.resource, l.subresource, l.scope, component).Add(by)
}

// InFlight adjusts the number of requests being served.
func (m *Metrics) InFlight(writes bool, by float64) {
	kind := readOnly
	if writes {
		kind = mutating
	}
	m.inflight.WithLabelValues(kind).Add(by)
}

func (m *requestMetrics) of(k seriesKey) *series {
	m.mu.RLock()
	s := m.series[k]
	m.mu.RUnlock()
	if s != nil {
		return s
	}
	l, dry := &k.labels, ""
	if k.dryRun {
		dry = "All"
	}
	s = &series{total: m.total.WithLabelValues(l.verb, dry, l.group, l.version, l.resource, l.subresource, l.scope, component, strconv.Itoa(k.code))}
	if l.verb != "WATCH" && l.verb != "CONNECT" {
		s.duration = m.duration.WithLabelValues(l.verb, dry, l.group, l.version, l.resource, l.subresource, l.scope, component)
		s.sli = m.sli.WithLabelValues(l.verb, l.group, l.version, l.resource, l.subresource, l.scope, component)
	}
	switch {
	case l.resource == "":
	case l.verb == "GET" || l.verb == "LIST":
		s.sizes = m.sizes.WithLabelValues(l.verb, l.group, l.version, l.resource, l.subresource, l.scope, component)
	case s.duration != nil:
		s.bodies = m.bodies.WithLabelValues(l.group, l.resource, bodyVerb(l.verb))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series[k] = s
	return s
}

// bodyVerb is the verb as authorization has it.
func bodyVerb(label string) string {
	switch label {
	case "POST":
		return "create"
	case "PUT":
		return "update"
	case "APPLY":
		return "patch"
	}
	return strings.ToLower(label)
}

// instrumented are the paths that are told apart by name.
var instrumented = map[string]bool{"/healthz": true, "/livez": true, "/readyz": true}

func labelsOf(r *request.Request, known bool) labels {
	i := &r.Info
	switch {
	case !known:
		return labels{verb: "OTHER", scope: scopeOf(i)}
	case !i.IsResource && instrumented[i.Path]:
		return labels{verb: verbLabel(i.Verb), subresource: i.Path}
	case !i.IsResource:
		return labels{verb: verbLabel(i.Verb)}
	}
	l := labels{verbLabel(i.Verb), i.Group, i.Version, i.Resource, i.Subresource, scopeOf(i)}
	if r.Apply {
		l.verb = "APPLY"
	}
	if connecting[i.Subresource] {
		l.verb = "CONNECT"
	}
	return l
}

var connecting = map[string]bool{"exec": true, "attach": true, "portforward": true, "proxy": true}

func kindOf(verb string) string {
	switch verb {
	case "get", "list", "watch":
		return readOnly
	}
	return mutating
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
