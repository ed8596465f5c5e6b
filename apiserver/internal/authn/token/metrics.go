package token

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// cacheMetrics are those of the server's cache of answers about tokens. A nil
// cacheMetrics measures nothing.
type cacheMetrics struct {
	requests, fetches *prometheus.CounterVec
	duration          *prometheus.HistogramVec
	active            *prometheus.GaugeVec
}

// Measure makes the cache tell of itself; only one cache of a server may.
func (c *Cache) Measure(r prometheus.Registerer) *Cache {
	if r == nil {
		return c
	}
	status := []string{"status"}
	c.metrics = &cacheMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authentication_token_cache_request_total", Help: "Tokens that were looked for in the cache: hit or miss.",
		}, status),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authentication_token_cache_fetch_total", Help: "Looks at tokens that were not in the cache: ok or error.",
		}, status),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "authentication_token_cache_request_duration_seconds", Help: "Seconds until a token is answered: hit or miss.",
			Buckets: prometheus.DefBuckets,
		}, status),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "authentication_token_cache_active_fetch_count", Help: "Looks at tokens under way, in_flight, and requests that wait for one, blocked.",
		}, status),
	}
	// All are there from the beginning, at 0.
	for _, s := range []string{"hit", "miss"} {
		c.metrics.requests.WithLabelValues(s)
		c.metrics.duration.WithLabelValues(s)
	}
	for _, s := range []string{"ok", "error"} {
		c.metrics.fetches.WithLabelValues(s)
	}
	for _, s := range []string{"in_flight", "blocked"} {
		c.metrics.active.WithLabelValues(s)
	}
	r.MustRegister(c.metrics.requests, c.metrics.fetches, c.metrics.duration, c.metrics.active)
	return c
}

func (m *cacheMetrics) answered(hit bool, d time.Duration) {
	if m == nil {
		return
	}
	status := "miss"
	if hit {
		status = "hit"
	}
	m.requests.WithLabelValues(status).Inc()
	m.duration.WithLabelValues(status).Observe(d.Seconds())
}

func (m *cacheMetrics) looked(err error) {
	if m == nil {
		return
	}
	status := "ok"
	if err != nil {
		status = "error"
	}
	m.fetches.WithLabelValues(status).Inc()
}

// during counts what goes on until the function it gives is called.
func (m *cacheMetrics) during(status string) func() {
	if m == nil {
		return func() {}
	}
	g := m.active.WithLabelValues(status)
	g.Inc()
	return g.Dec
}
