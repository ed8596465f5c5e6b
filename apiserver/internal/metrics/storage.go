package metrics

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/watchcache"
)

type etcdMetrics struct {
	duration      *prometheus.HistogramVec
	total, errors *prometheus.CounterVec
}

func newEtcdMetrics() etcdMetrics {
	return etcdMetrics{
		duration: histograms("etcd_request_duration_seconds", "Seconds that a write takes in etcd, with its wait for others that share it.",
			[]float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60},
			"operation", "group", "resource"),
		total:  counters("etcd_requests_total", "Writes to etcd.", "operation", "group", "resource"),
		errors: counters("etcd_request_errors_total", "Writes to etcd that failed, conflicts aside.", "operation", "group", "resource"),
	}
}

// Store measures the writes of a store.
func (m *Metrics) Store(s storage.Store) storage.Store { return &meteredStore{Store: s, etcd: &m.etcd} }

type meteredStore struct {
	storage.Store
	etcd        *etcdMetrics
	collections sync.Map // *scheme.Resource → *metered
}

func (s *meteredStore) Collection(r *scheme.Resource) storage.Collection {
	inner := s.Store.Collection(r)
	if c, ok := s.collections.Load(r); ok && c.(*metered).Collection == inner {
		return c.(*metered)
	}
	c := &metered{Collection: inner}
	for i, name := range []string{"create", "update", "delete"} {
		c.operations[i] = operation{
			duration: s.etcd.duration.WithLabelValues(name, r.Group, r.Plural),
			total:    s.etcd.total.WithLabelValues(name, r.Group, r.Plural),
			errors:   s.etcd.errors.WithLabelValues(name, r.Group, r.Plural),
		}
	}
	s.collections.Store(r, c)
	return c
}

type metered struct {
	storage.Collection
	operations [3]operation // create, update, delete
}

type operation struct {
	duration      prometheus.Observer
	total, errors prometheus.Counter
}

func (o *operation) end(began time.Time, err error) {
	o.duration.Observe(time.Since(began).Seconds())
	o.total.Inc()
	var conflict *storage.Conflict
	var exists *storage.Exists
	if err != nil && !errors.As(err, &conflict) && !errors.As(err, &exists) {
		o.errors.Inc()
	}
}

func (c *metered) Create(ctx context.Context, namespace, name string, raw []byte, ttl time.Duration) (*storage.Object, error) {
	began := time.Now()
	o, err := c.Collection.Create(ctx, namespace, name, raw, ttl)
	c.operations[0].end(began, err)
	return o, err
}

func (c *metered) Update(ctx context.Context, old *storage.Object, raw []byte, ttl time.Duration) (*storage.Object, error) {
	began := time.Now()
	o, err := c.Collection.Update(ctx, old, raw, ttl)
	c.operations[1].end(began, err)
	return o, err
}

func (c *metered) Delete(ctx context.Context, old *storage.Object) (int64, error) {
	began := time.Now()
	rev, err := c.Collection.Delete(ctx, old)
	c.operations[2].end(began, err)
	return rev, err
}

// Cache shows what the watch cache holds, when it is asked for.
func Cache(s *watchcache.Store) prometheus.Collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &cacheCollector{
		store:    s,
		objects:  d("apiserver_storage_objects", "Stored objects, by resource with its group.", "resource"),
		counted:  d("apiserver_resource_objects", "Stored objects.", "group", "resource"),
		estimate: d("apiserver_resource_size_estimate_bytes", "Bytes of the stored objects.", "group", "resource"),
		capacity: d("watch_cache_capacity", "Revisions that watches can resume from.", "group", "resource"),
		version:  d("apiserver_watch_cache_resource_version", "Revision of the newest change in the cache.", "group", "resource"),
	}
}

type cacheCollector struct {
	store                                         *watchcache.Store
	objects, counted, estimate, capacity, version *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *cacheCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.objects, c.counted, c.estimate, c.capacity, c.version} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *cacheCollector) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, s := range c.store.Stats() {
		group, plural := s.Resource.Group, s.Resource.Plural
		send(c.objects, float64(s.Objects), s.Resource.GroupResource().String())
		send(c.counted, float64(s.Objects), group, plural)
		send(c.estimate, float64(s.Bytes), group, plural)
		send(c.capacity, float64(s.History), group, plural)
		send(c.version, float64(c.store.Collection(s.Resource).Changed()), group, plural)
	}
}
