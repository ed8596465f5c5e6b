package authz

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xebec.dev/apiserver/internal/request"
)

// Metrics counts decisions. A nil Metrics counts nothing.
type Metrics struct {
	attempts  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	decisions *prometheus.CounterVec
}

// NewMetrics registers the metrics; nil without a registerer.
func NewMetrics(r prometheus.Registerer) *Metrics {
	if r == nil {
		return nil
	}
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authorization_attempts_total", Help: "Authorizations by result: allowed, denied, no-opinion or error.",
		}, []string{"result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "authorization_duration_seconds", Help: "Seconds that authorization takes, by result.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"result"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_authorization_decisions_total", Help: "Final decisions of authorizers: allowed or denied.",
		}, []string{"type", "name", "decision"}),
	}
	r.MustRegister(m.attempts, m.duration, m.decisions)
	return m
}

// Whole measures the chain.
func (m *Metrics) Whole(z Authorizer) Authorizer {
	if m == nil {
		return z
	}
	return &whole{z, m}
}

// Part counts the decisions of one authorizer of the chain.
func (m *Metrics) Part(z Authorizer, kind, name string) Authorizer {
	if m == nil {
		return z
	}
	return &part{z, m.decisions.WithLabelValues(kind, name, "allowed"), m.decisions.WithLabelValues(kind, name, "denied")}
}

type whole struct {
	Authorizer
	m *Metrics
}

func (w *whole) Authorize(ctx context.Context, u *request.User, a *request.Info) (Decision, string, error) {
	start := time.Now()
	d, reason, err := w.Authorizer.Authorize(ctx, u, a)
	result := [...]string{NoOpinion: "no-opinion", Allow: "allowed", Deny: "denied"}[d]
	if d != Allow && err != nil {
		result = "error"
	}
	w.m.attempts.WithLabelValues(result).Inc()
	w.m.duration.WithLabelValues(result).Observe(time.Since(start).Seconds())
	return d, reason, err
}

func (w *whole) RulesFor(ctx context.Context, u *request.User, namespace string) (Rules, error) {
	return rulesFor(ctx, w.Authorizer, u, namespace)
}

type part struct {
	Authorizer
	allowed, denied prometheus.Counter
}

func (p *part) Authorize(ctx context.Context, u *request.User, a *request.Info) (Decision, string, error) {
	d, reason, err := p.Authorizer.Authorize(ctx, u, a)
	switch d {
	case Allow:
		p.allowed.Inc()
	case Deny:
		p.denied.Inc()
	}
	return d, reason, err
}

func (p *part) RulesFor(ctx context.Context, u *request.User, namespace string) (Rules, error) {
	return rulesFor(ctx, p.Authorizer, u, namespace)
}

func rulesFor(ctx context.Context, z Authorizer, u *request.User, namespace string) (Rules, error) {
	if r, ok := z.(Resolver); ok {
		return r.RulesFor(ctx, u, namespace)
	}
	return Rules{}, nil
}
