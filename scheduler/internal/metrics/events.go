package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Kinds of calls that the scheduler does not wait for.
const (
	BindingCall = "pod_binding"
	StatusCall  = "pod_status_patch"
)

// events are the metrics of what happens in the cluster, and of what is asked
// of the API server beside the decisions.
type events struct {
	handling *prometheus.HistogramVec
	hints    *prometheus.HistogramVec
	calls    *prometheus.CounterVec
	callTime *prometheus.HistogramVec
	pending  *prometheus.GaugeVec

	handled map[string]prometheus.Observer    // by event; owned by the loop
	hinted  map[[3]string]prometheus.Observer // owned by the loop
}

func newEvents() events {
	return events{
		handling: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "scheduler", Name: "event_handling_duration_seconds", Help: "Event handling latency in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 12),
		}, []string{"event"}),
		hints: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "scheduler", Name: "queueing_hint_execution_duration_seconds", Help: "Latency for running a queueing hint function of a plugin.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 2, 12),
		}, []string{"plugin", "event", "hint"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "scheduler", Name: "async_api_call_execution_total", Help: "Total number of API calls executed by the async dispatcher.",
		}, []string{"call_type", "result"}),
		callTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "scheduler", Name: "async_api_call_execution_duration_seconds", Help: "Duration in seconds for executing API call in the async dispatcher.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"call_type", "result"}),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "scheduler", Name: "pending_async_api_calls", Help: "Number of API calls currently pending in the async queue.",
		}, []string{"call_type"}),
		handled: map[string]prometheus.Observer{}, hinted: map[[3]string]prometheus.Observer{},
	}
}

func (e *events) collectors() []prometheus.Collector {
	return []prometheus.Collector{e.handling, e.hints, e.calls, e.callTime, e.pending}
}

// Handled is how long an event took to be taken in. It belongs to the loop.
func (m *Metrics) Handled(event string, d time.Duration) {
	o := m.events.handled[event]
	if o == nil {
		o = m.events.handling.WithLabelValues(event)
		m.events.handled[event] = o
	}
	o.Observe(d.Seconds())
}

// Hinted is how long a plugin took to say whether an event helps a pod. It
// belongs to the loop.
func (m *Metrics) Hinted(plugin, event, hint string, d time.Duration) {
	k := [3]string{plugin, event, hint}
	o := m.events.hinted[k]
	if o == nil {
		o = m.events.hints.WithLabelValues(plugin, event, hint)
		m.events.hinted[k] = o
	}
	o.Observe(d.Seconds())
}

// Calls begun (1) or ended (-1) of a kind.
func (m *Metrics) Calls(kind string, n int) {
	m.events.pending.WithLabelValues(kind).Add(float64(n))
}

// Called is how long a call took, and what came of it.
func (m *Metrics) Called(kind string, err error, d time.Duration) {
	result := "success"
	if err != nil {
		result = "error"
	}
	m.events.calls.WithLabelValues(kind, result).Inc()
	m.events.callTime.WithLabelValues(kind, result).Observe(d.Seconds())
}
