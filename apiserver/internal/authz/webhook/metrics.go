package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of all webhooks that authorize. A nil Metrics measures
// nothing.
type Metrics struct {
	duration                *prometheus.HistogramVec
	evaluations, open       *prometheus.CounterVec
	condition               *prometheus.HistogramVec
	conditionErrs, excluded *prometheus.CounterVec
}

// kind is the label type of what webhooks share with other authorizers.
const kind = "Webhook"

// NewMetrics registers the metrics; nil without a registerer.
func NewMetrics(r prometheus.Registerer) *Metrics {
	if r == nil {
		return nil
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_authorization_webhook_duration_seconds", Help: "Seconds that a webhook takes to authorize, by result.",
			Buckets: []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 15, 30, 60},
		}, []string{"name", "result"}),
		evaluations: counter("apiserver_authorization_webhook_evaluations_total", "Times that a webhook was asked: success, timeout, canceled or error.", "name", "result"),
		open:        counter("apiserver_authorization_webhook_evaluations_fail_open_total", "Times that a webhook failed and had no opinion: timeout or error.", "name", "result"),
		condition: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_authorization_match_condition_evaluation_seconds", Help: "Seconds that the match conditions of an authorizer take.",
			Buckets: []float64{0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25},
		}, []string{"name", "type"}),
		conditionErrs: counter("apiserver_authorization_match_condition_evaluation_errors_total", "Requests for which the match conditions of an authorizer failed.", "name", "type"),
		excluded:      counter("apiserver_authorization_match_condition_exclusions_total", "Requests that the match conditions of an authorizer left out.", "name", "type"),
	}
	r.MustRegister(m.duration, m.evaluations, m.open, m.condition, m.conditionErrs, m.excluded)
	return m
}

func (m *Metrics) asked(name string, d time.Duration, err error, failOpen bool) {
	if m == nil {
		return
	}
	result := "success"
	switch {
	case errors.Is(err, context.Canceled):
		result = "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		result = "timeout"
	case err != nil:
		result = "error"
	}
	m.duration.WithLabelValues(name, result).Observe(d.Seconds())
	m.evaluations.WithLabelValues(name, result).Inc()
	if failOpen && (result == "timeout" || result == "error") {
		m.open.WithLabelValues(name, result).Inc()
	}
}

func (m *Metrics) matched(name string, d time.Duration, ask bool, err error) {
	if m == nil {
		return
	}
	m.condition.WithLabelValues(name, kind).Observe(d.Seconds())
	switch {
	case err != nil:
		m.conditionErrs.WithLabelValues(name, kind).Inc()
	case !ask:
		m.excluded.WithLabelValues(name, kind).Inc()
	}
}
