package kms

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"xebec.dev/apiserver/internal/identity"
)

// Metrics are those of all providers. A nil Metrics measures nothing.
type Metrics struct {
	latency               *prometheus.HistogramVec
	invalid, uses         *prometheus.CounterVec
	lastUse, status, size *prometheus.GaugeVec
}

// NewMetrics registers the metrics; nil without a registerer.
func NewMetrics(r prometheus.Registerer) *Metrics {
	if r == nil {
		return nil
	}
	const prefix = "apiserver_envelope_encryption_"
	key := []string{"transformation_type", "provider_name", "key_id_hash", "apiserver_id_hash"}
	m := &Metrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "kms_operations_latency_seconds", Help: "Seconds that calls of KMS plugins take, by method and outcome.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15),
		}, []string{"provider_name", "method_name", "grpc_status_code"}),
		invalid: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "invalid_key_id_from_status_total", Help: "Key ids of KMS plugins that are empty or too long.",
		}, []string{"provider_name", "error"}),
		uses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "key_id_hash_total", Help: "Times that a KMS plugin's key was taken into use.",
		}, key),
		lastUse: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "key_id_hash_last_timestamp_seconds", Help: "When a KMS plugin's key was last taken into use.",
		}, key),
		status: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "key_id_hash_status_last_timestamp_seconds", Help: "When a KMS plugin last said which its key is.",
		}, key[1:]),
		size: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "dek_source_cache_size", Help: "Decrypted keys and seeds in memory.",
		}, []string{"provider_name"}),
	}
	r.MustRegister(m.latency, m.invalid, m.uses, m.lastUse, m.status, m.size)
	return m
}

func (m *Metrics) took(name, method string, d time.Duration, code codes.Code) {
	if m != nil {
		m.latency.WithLabelValues(name, service+method, code.String()).Observe(d.Seconds())
	}
}

func (m *Metrics) invalidKeyID(name string, err error) {
	if m != nil {
		kind := "too_long"
		if err.Error() == "keyID is empty" {
			kind = "empty"
		}
		m.invalid.WithLabelValues(name, kind).Inc()
	}
}

func (m *Metrics) keyUsed(name, transformation, id string, at time.Time) {
	if m != nil {
		m.uses.WithLabelValues(transformation, name, hash(id), identity.Hash()).Inc()
		m.lastUse.WithLabelValues(transformation, name, hash(id), identity.Hash()).Set(float64(at.Unix()))
	}
}

func (m *Metrics) keyStatus(name, id string, at time.Time) {
	if m != nil {
		m.status.WithLabelValues(name, hash(id), identity.Hash()).Set(float64(at.Unix()))
	}
}

func (m *Metrics) cached(name string, n int) {
	if m != nil {
		m.size.WithLabelValues(name).Set(float64(n))
	}
}
