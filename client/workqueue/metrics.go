package workqueue

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics collects those of all queues of a component, by Kubernetes' names.
// Make one with NewMetrics; a nil one collects nothing.
type Metrics struct {
	depth          *prometheus.GaugeVec
	adds, retries  *prometheus.CounterVec
	waits, working *prometheus.HistogramVec

	mu   sync.Mutex
	open map[string]func() (sum, longest float64) // guarded by mu
}

var (
	unfinishedDesc = prometheus.NewDesc("workqueue_unfinished_work_seconds", "How many seconds of work has been done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads.", []string{"name"}, nil)
	longestDesc    = prometheus.NewDesc("workqueue_longest_running_processor_seconds", "How many seconds has the longest running processor for workqueue been running.", []string{"name"}, nil)
)

// NewMetrics makes metrics, to be registered by the caller.
func NewMetrics() *Metrics {
	name := []string{"name"}
	buckets := prometheus.ExponentialBuckets(10e-9, 10, 12)
	return &Metrics{
		open:    map[string]func() (float64, float64){},
		depth:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "workqueue_depth", Help: "Current depth of workqueue by workqueue"}, name),
		adds:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "workqueue_adds_total", Help: "Total number of adds handled by workqueue"}, name),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "workqueue_retries_total", Help: "Total number of retries handled by workqueue"}, name),
		waits:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "workqueue_queue_duration_seconds", Help: "How long in seconds an item stays in workqueue before being requested.", Buckets: buckets}, name),
		working: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "workqueue_work_duration_seconds", Help: "How long in seconds processing an item from workqueue takes.", Buckets: buckets}, name),
	}
}

func (m *Metrics) vectors() []prometheus.Collector {
	return []prometheus.Collector{m.depth, m.adds, m.retries, m.waits, m.working}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range m.vectors() {
		v.Describe(ch)
	}
	ch <- unfinishedDesc
	ch <- longestDesc
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, v := range m.vectors() {
		v.Collect(ch)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, inWork := range m.open {
		sum, longest := inWork()
		ch <- prometheus.MustNewConstMetric(unfinishedDesc, prometheus.GaugeValue, sum, name)
		ch <- prometheus.MustNewConstMetric(longestDesc, prometheus.GaugeValue, longest, name)
	}
}

// queueMetrics are one queue's; nil does nothing.
type queueMetrics struct {
	of             *Metrics
	name           string
	gauge          prometheus.Gauge
	adds, retries  prometheus.Counter
	waits, working prometheus.Observer
}

func (m *Metrics) queue(name string, inWork func() (sum, longest float64)) *queueMetrics {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	m.open[name] = inWork
	m.mu.Unlock()
	return &queueMetrics{
		of: m, name: name, gauge: m.depth.WithLabelValues(name), adds: m.adds.WithLabelValues(name),
		retries: m.retries.WithLabelValues(name), waits: m.waits.WithLabelValues(name), working: m.working.WithLabelValues(name),
	}
}

// forget must not be called under a queue's lock: a scrape holds the metrics'
// while it asks the queues.
func (q *queueMetrics) forget() {
	if q == nil {
		return
	}
	q.of.mu.Lock()
	defer q.of.mu.Unlock()
	delete(q.of.open, q.name)
}

func (q *queueMetrics) added() {
	if q != nil {
		q.adds.Inc()
	}
}

func (q *queueMetrics) retried() {
	if q != nil {
		q.retries.Inc()
	}
}

func (q *queueMetrics) depth(n int) {
	if q != nil {
		q.gauge.Set(float64(n))
	}
}

func (q *queueMetrics) waited(d time.Duration) {
	if q != nil {
		q.waits.Observe(d.Seconds())
	}
}

func (q *queueMetrics) worked(d time.Duration) {
	if q != nil {
		q.working.Observe(d.Seconds())
	}
}
