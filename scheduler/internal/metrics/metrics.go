// Package metrics has the scheduler's metrics, by Kubernetes' names.
package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of a scheduler. Register it with a registry.
type Metrics struct {
	attempts    *prometheus.CounterVec
	attemptTime *prometheus.HistogramVec
	algorithm   prometheus.Histogram
	binding     prometheus.Histogram
	sli         *prometheus.HistogramVec
	tries       prometheus.Histogram
	incoming    *prometheus.CounterVec
	pending     *prometheus.GaugeVec
	cacheSize   *prometheus.GaugeVec
	unschedul   *prometheus.GaugeVec
	victims     prometheus.Histogram
	preemptions prometheus.Counter
	evaluated   prometheus.Counter
	permitWait  *prometheus.HistogramVec
	goroutines  *prometheus.GaugeVec
	afterFlush  prometheus.Counter
	plugins     plugins
	events      events
}

// New makes metrics.
func New() *Metrics {
	seconds := prometheus.ExponentialBuckets(0.001, 2, 15)
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "scheduler", Name: name, Help: help, Buckets: buckets}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "scheduler", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "scheduler", Name: name, Help: help}, labels)
	}
	plain := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "scheduler", Name: name, Help: help, Buckets: buckets})
	}
	return &Metrics{
		attempts:    counter("schedule_attempts_total", "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal scheduler problem.", "result", "profile"),
		attemptTime: histogram("scheduling_attempt_duration_seconds", "Scheduling attempt latency in seconds (scheduling algorithm + binding)", seconds, "result", "profile"),
		algorithm:   plain("scheduling_algorithm_duration_seconds", "Scheduling algorithm latency in seconds", prometheus.ExponentialBuckets(0.000001, 4, 12)),
		binding:     plain("binding_duration_seconds", "Time between a binding's request and its result in seconds", seconds),
		sli:         histogram("pod_scheduling_sli_duration_seconds", "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts.", prometheus.ExponentialBuckets(0.01, 2, 20), "attempts"),
		tries:       plain("pod_scheduling_attempts", "Number of attempts to successfully schedule a pod.", prometheus.ExponentialBuckets(1, 2, 5)),
		incoming:    counter("queue_incoming_pods_total", "Number of pods added to scheduling queues by event and queue type.", "queue", "event"),
		pending:     gauge("pending_pods", "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means number of pods in backoffQ; 'unschedulable' means number of pods in unschedulablePods that the scheduler attempted to schedule and failed; 'gated' is the number of unschedulable pods that the scheduler never attempted to schedule because they are gated.", "queue"),
		cacheSize:   gauge("cache_size", "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.", "type"),
		unschedul:   gauge("unschedulable_pods", "The number of unschedulable pods broken down by plugin name. A pod will increment the gauge for all plugins that caused it to not schedule and so this metric have meaning only when broken down by plugin.", "plugin", "profile"),
		victims:     plain("preemption_victims", "Number of selected preemption victims", prometheus.ExponentialBuckets(1, 2, 7)),
		preemptions: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "scheduler", Name: "preemption_attempts_total", Help: "Total preemption attempts in the cluster till now"}),
		evaluated:   prometheus.NewCounter(prometheus.CounterOpts{Namespace: "scheduler", Name: "nodes_evaluated_total", Help: "Nodes that decisions were about"}),
		permitWait:  histogram("permit_wait_duration_seconds", "Duration of waiting on permit.", seconds, "result"),
		goroutines:  gauge("goroutines", "Number of running goroutines split by the work they do such as binding.", "operation"),
		afterFlush: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "scheduler", Name: "pod_scheduled_after_flush_total", Help: "Number of pods that were successfully scheduled after being flushed from unschedulablePods due to timeout",
		}),
		plugins: newPlugins(), events: newEvents(),
	}
}

// Collectors of all metrics.
func (m *Metrics) Collectors() []prometheus.Collector {
	return append(m.events.collectors(),
		m.attempts, m.attemptTime, m.algorithm, m.binding, m.sli, m.tries, m.incoming, m.pending, m.cacheSize, m.unschedul,
		m.victims, m.preemptions, m.evaluated, m.permitWait, m.goroutines, m.afterFlush,
		m.plugins.extension, m.plugins.execution, m.plugins.evaluated)
}

// Attempt counts one, with its result.
func (m *Metrics) Attempt(result, profile string, d time.Duration) {
	m.attempts.WithLabelValues(result, profile).Inc()
	m.attemptTime.WithLabelValues(result, profile).Observe(d.Seconds())
}

// Algorithm is how long a decision took.
func (m *Metrics) Algorithm(d time.Duration) { m.algorithm.Observe(d.Seconds()) }

// Bound is how long a binding took.
func (m *Metrics) Bound(d time.Duration) { m.binding.Observe(d.Seconds()) }

// Nodes counts those that a decision was about.
func (m *Metrics) Nodes(n int) { m.evaluated.Add(float64(n)) }

// Scheduled tells of a pod that was bound after some attempts.
func (m *Metrics) Scheduled(attempts int, since time.Duration) {
	label := "16+"
	if attempts < 16 {
		label = strconv.Itoa(attempts)
	}
	m.sli.WithLabelValues(label).Observe(since.Seconds())
	m.tries.Observe(float64(attempts))
}

// Incoming counts a pod that entered a queue.
func (m *Metrics) Incoming(queue, event string) { m.incoming.WithLabelValues(queue, event).Inc() }

// SetPending tells how many pods wait where.
func (m *Metrics) SetPending(active, backoff, unschedulable, gated int) {
	m.pending.WithLabelValues("active").Set(float64(active))
	m.pending.WithLabelValues("backoff").Set(float64(backoff))
	m.pending.WithLabelValues("unschedulable").Set(float64(unschedulable))
	m.pending.WithLabelValues("gated").Set(float64(gated))
}

// SetCache tells how large the picture of the cluster is.
func (m *Metrics) SetCache(nodes, pods, assumed int) {
	m.cacheSize.WithLabelValues("nodes").Set(float64(nodes))
	m.cacheSize.WithLabelValues("pods").Set(float64(pods))
	m.cacheSize.WithLabelValues("assumed_pods").Set(float64(assumed))
}

// SetUnschedulable tells how many pods wait for a plugin.
func (m *Metrics) SetUnschedulable(profile, plugin string, pods int) {
	m.unschedul.WithLabelValues(plugin, profile).Set(float64(pods))
}

// Preempting counts an attempt at preemption, Victims what one evicts.
func (m *Metrics) Preempting()   { m.preemptions.Inc() }
func (m *Metrics) Victims(n int) { m.victims.Observe(float64(n)) }

// Permitted is how long a pod waited for permission, and what came of it.
func (m *Metrics) Permitted(result string, d time.Duration) {
	m.permitWait.WithLabelValues(result).Observe(d.Seconds())
}

// Goroutines tells of those that began or ended (-1) to work at something.
func (m *Metrics) Goroutines(operation string, n int) {
	m.goroutines.WithLabelValues(operation).Add(float64(n))
}

// AfterFlush counts a pod that was scheduled though no event was thought to
// help it.
func (m *Metrics) AfterFlush() { m.afterFlush.Inc() }
