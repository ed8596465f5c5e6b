package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// plugins are the metrics of single plugins and extension points.
type plugins struct {
	extension *prometheus.HistogramVec
	execution *prometheus.HistogramVec
	evaluated *prometheus.CounterVec

	// Found by labels: Prometheus' own way there takes longer than what is
	// measured at times. Owned by the loop.
	points   map[[3]string]prometheus.Observer
	executed map[[3]string]prometheus.Observer
	counts   map[[3]string]prometheus.Counter
}

func newPlugins() plugins {
	return plugins{
		extension: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "scheduler", Name: "framework_extension_point_duration_seconds", Help: "Latency for running all plugins of a specific extension point.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 12),
		}, []string{"extension_point", "status", "profile"}),
		// From 10 µs on, as in Kubernetes.
		execution: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "scheduler", Name: "plugin_execution_duration_seconds", Help: "Duration for running a plugin at a specific extension point.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 1.5, 20),
		}, []string{"plugin", "extension_point", "status"}),
		evaluated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "scheduler", Name: "plugin_evaluation_total",
			Help: "Number of attempts to schedule pods by each plugin and the extension point (available only in PreFilter, Filter, PreScore, and Score).",
		}, []string{"plugin", "extension_point", "profile"}),
		points: map[[3]string]prometheus.Observer{}, executed: map[[3]string]prometheus.Observer{}, counts: map[[3]string]prometheus.Counter{},
	}
}

// Point is how long an extension point took. Those of decisions: PreFilter and
// PreScore are compiling for a class of pods, Filter is bringing the class up
// to date, Score choosing among its nodes. It belongs to the loop.
func (m *Metrics) Point(point, status, profile string, d time.Duration) {
	k := [3]string{point, status, profile}
	o := m.plugins.points[k]
	if o == nil {
		o = m.plugins.extension.WithLabelValues(point, status, profile)
		m.plugins.points[k] = o
	}
	o.Observe(d.Seconds())
}

// Plugin is how long a plugin took. It belongs to the loop.
func (m *Metrics) Plugin(plugin, point, status string, d time.Duration) {
	k := [3]string{plugin, point, status}
	o := m.plugins.executed[k]
	if o == nil {
		o = m.plugins.execution.WithLabelValues(plugin, point, status)
		m.plugins.executed[k] = o
	}
	o.Observe(d.Seconds())
}

// Evaluated counts pods that were put to a plugin. It belongs to the loop.
func (m *Metrics) Evaluated(plugin, point, profile string, pods int) {
	k := [3]string{plugin, point, profile}
	c := m.plugins.counts[k]
	if c == nil {
		c = m.plugins.evaluated.WithLabelValues(plugin, point, profile)
		m.plugins.counts[k] = c
	}
	c.Add(float64(pods))
}
