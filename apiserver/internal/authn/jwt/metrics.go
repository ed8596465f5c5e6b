package jwt

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xebec.dev/apiserver/internal/identity"
)

// Metrics are those of all issuers. A nil Metrics measures nothing.
type Metrics struct {
	latency *prometheus.HistogramVec
	fetch   *prometheus.GaugeVec
	keys    *prometheus.GaugeVec
}

// NewMetrics registers the metrics; nil without a registerer.
func NewMetrics(r prometheus.Registerer) *Metrics {
	if r == nil {
		return nil
	}
	m := &Metrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_authentication_jwt_authenticator_latency_seconds", Help: "Seconds that authentication by a token of an issuer takes, by result.",
			Buckets: []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 15, 30, 60},
		}, []string{"jwt_issuer_hash", "result"}),
		fetch: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds", Help: "When the keys of an issuer were last fetched, by result.",
		}, []string{"apiserver_id_hash", "jwt_issuer_hash", "result"}),
		keys: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "apiserver_authentication_jwt_authenticator_jwks_fetch_last_key_set_info", Help: "1, labelled with the hash of the keys of an issuer as last fetched.",
		}, []string{"apiserver_id_hash", "hash", "jwt_issuer_hash"}),
	}
	r.MustRegister(m.latency, m.fetch, m.keys)
	return m
}

func (m *Metrics) took(issuer string, d time.Duration, err error) {
	if m != nil {
		m.latency.WithLabelValues(identity.HashOf(issuer), result(err)).Observe(d.Seconds())
	}
}

func result(err error) string {
	if err != nil {
		return "failure"
	}
	return "success"
}

// fetched is what a key set of an issuer tells of its looks.
func (m *Metrics) fetched(issuer string) func(set []byte, at time.Time, err error) {
	if m == nil {
		return nil
	}
	hash := identity.HashOf(issuer)
	return func(set []byte, at time.Time, err error) {
		m.fetch.WithLabelValues(identity.Hash(), hash, result(err)).Set(float64(at.Unix()))
		if err == nil {
			m.keys.DeletePartialMatch(prometheus.Labels{"jwt_issuer_hash": hash})
			m.keys.WithLabelValues(identity.Hash(), identity.HashOf(string(set)), hash).Set(1)
		}
	}
}
