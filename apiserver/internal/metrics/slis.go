package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// SLIs are the outcomes of health checks, served at /metrics/slis.
type SLIs struct {
	registry *prometheus.Registry
	state    *prometheus.GaugeVec
	total    *prometheus.CounterVec
}

// NewSLIs makes them.
func NewSLIs() *SLIs {
	s := &SLIs{
		registry: prometheus.NewRegistry(),
		state:    gauges("kubernetes_healthcheck", "1 when a health check succeeded at last, else 0.", "type", "name"),
		total:    counters("kubernetes_healthchecks_total", "Outcomes of health checks.", "type", "name", "status"),
	}
	s.registry.MustRegister(s.state, s.total)
	return s
}

// Observed takes the outcome of a check.
func (s *SLIs) Observed(kind, check string, err error) {
	state, status := 1.0, "success"
	if err != nil {
		state, status = 0, "error"
	}
	s.state.WithLabelValues(kind, check).Set(state)
	s.total.WithLabelValues(kind, check, status).Inc()
}

// Handler serves them.
func (s *SLIs) Handler() http.Handler { return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}) }
