package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

type watchMetrics struct {
	sent *prometheus.CounterVec
	of   *sync.Map // schema.GroupVersionResource → prometheus.Counter
}

func newWatchMetrics() watchMetrics {
	return watchMetrics{sent: counters("apiserver_watch_events_total", "Events sent to watchers.", "group", "version", "resource"), of: new(sync.Map)}
}

// Watched is the counter of the events that watchers of a resource are sent.
func (m *Metrics) Watched(gvr schema.GroupVersionResource) interface{ Add(float64) } {
	if c, ok := m.watches.of.Load(gvr); ok {
		return c.(prometheus.Counter)
	}
	c := m.watches.sent.WithLabelValues(gvr.Group, gvr.Version, gvr.Resource)
	m.watches.of.Store(gvr, c)
	return c
}
