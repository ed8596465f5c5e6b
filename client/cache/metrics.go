package cache

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xebec.dev/api/scheme"
	"xebec.dev/client/stream"
	pb "xebec.dev/proto/gen/control/v1"
)

// Metrics collects those of all replicas of a component, by resource. A nil
// *Metrics collects nothing.
type Metrics struct {
	mu       sync.Mutex
	replicas map[*replicaMetrics]bool // guarded by mu
	gone     map[string]totals        // guarded by mu: counters of replicas that ended
}

// totals are the counters of a replica.
type totals struct {
	events                [4]int64 // by pb.Event_Type
	relists, undecodables int64
}

func (t *totals) add(o totals) {
	for i := range t.events {
		t.events[i] += o.events[i]
	}
	t.relists += o.relists
	t.undecodables += o.undecodables
}

// replicaMetrics are one replica's numbers.
type replicaMetrics struct {
	of       *Metrics // nil when nobody collects
	resource string
	waiting  atomic.Pointer[func() int]

	objects, revision, received atomic.Int64 // received in Unix nanoseconds
	events                      [4]atomic.Int64
	relists, undecodables       atomic.Int64
}

func (m *Metrics) replica(r *scheme.Resource) *replicaMetrics {
	return &replicaMetrics{of: m, resource: r.GroupResource().String()}
}

func (m *replicaMetrics) follow(waiting func() int) {
	m.waiting.Store(&waiting)
	m.received.Store(time.Now().UnixNano())
	if m.of == nil {
		return
	}
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	if m.of.replicas == nil {
		m.of.replicas, m.of.gone = map[*replicaMetrics]bool{}, map[string]totals{}
	}
	m.of.replicas[m] = true
}

func (m *replicaMetrics) forget() {
	if m.of == nil {
		return
	}
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	delete(m.of.replicas, m)
	t := m.of.gone[m.resource]
	t.add(m.totals())
	m.of.gone[m.resource] = t
}

func (m *replicaMetrics) totals() (t totals) {
	for i := range m.events {
		t.events[i] = m.events[i].Load()
	}
	t.relists, t.undecodables = m.relists.Load(), m.undecodables.Load()
	return t
}

func (m *replicaMetrics) batch(b stream.Batch) {
	if b.Err == nil {
		m.received.Store(b.Received.UnixNano())
	}
}

func (m *replicaMetrics) event(t pb.Event_Type) {
	if int(t) < len(m.events) && t >= 0 {
		m.events[t].Add(1)
	}
}

func (m *replicaMetrics) published(revision int64, objects int) {
	m.revision.Store(revision)
	m.objects.Store(int64(objects))
}

func (m *replicaMetrics) relist()      { m.relists.Add(1) }
func (m *replicaMetrics) undecodable() { m.undecodables.Add(1) }

var (
	byResource      = []string{"resource"}
	objectsDesc     = prometheus.NewDesc("client_replica_objects", "Objects held by replicas.", byResource, nil)
	revisionDesc    = prometheus.NewDesc("client_replica_revision", "The lowest revision up to which the replicas are complete.", byResource, nil)
	ageDesc         = prometheus.NewDesc("client_replica_age_seconds", "Time since a replica last heard from the server, bookmarks included; the largest of the resource.", byResource, nil)
	waitingDesc     = prometheus.NewDesc("client_replica_waiting_batches", "Batches received and not yet applied.", byResource, nil)
	relistsDesc     = prometheus.NewDesc("client_replica_relists_total", "How often a replica had to start over.", byResource, nil)
	undecodableDesc = prometheus.NewDesc("client_replica_undecodable_total", "Objects that could not be decoded.", byResource, nil)
	eventsDesc      = prometheus.NewDesc("client_replica_events_total", "Events received.", []string{"resource", "type"}, nil)
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{objectsDesc, revisionDesc, ageDesc, waitingDesc, relistsDesc, undecodableDesc, eventsDesc} {
		ch <- d
	}
}

// gauges are the numbers of all replicas of a resource.
type gauges struct {
	objects, waiting int64
	revision         int64
	received         int64
	totals
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	all := m.gather()
	now := time.Now().UnixNano()
	for resource, g := range all {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, resource)
		}
		counter := func(d *prometheus.Desc, v int64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{resource}, labels...)...)
		}
		gauge(objectsDesc, float64(g.objects))
		gauge(revisionDesc, float64(g.revision))
		gauge(ageDesc, time.Duration(now-g.received).Seconds())
		gauge(waitingDesc, float64(g.waiting))
		counter(relistsDesc, g.relists)
		counter(undecodableDesc, g.undecodables)
		for _, t := range []pb.Event_Type{pb.Event_ADDED, pb.Event_MODIFIED, pb.Event_DELETED} {
			counter(eventsDesc, g.events[t], t.String())
		}
	}
}

func (m *Metrics) gather() map[string]*gauges {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]*gauges{}
	for r := range m.replicas {
		g := all[r.resource]
		if g == nil {
			g = &gauges{revision: r.revision.Load(), received: r.received.Load(), totals: m.gone[r.resource]}
			all[r.resource] = g
		}
		g.objects += r.objects.Load()
		g.revision = min(g.revision, r.revision.Load())
		g.received = min(g.received, r.received.Load())
		if w := r.waiting.Load(); w != nil {
			g.waiting += int64((*w)())
		}
		g.add(r.totals())
	}
	return all
}
