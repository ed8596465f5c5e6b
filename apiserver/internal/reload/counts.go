package reload

import (
	"github.com/prometheus/client_golang/prometheus"

	"xebec.dev/apiserver/internal/identity"
)

// Counts are the metrics of a configuration file that is read again. A nil
// Counts counts nothing.
type Counts struct {
	total *prometheus.CounterVec
	last  *prometheus.GaugeVec
	info  *prometheus.GaugeVec
}

// NewCounts registers the metrics of a kind of configuration, such as
// "authentication"; nil without a registerer.
func NewCounts(kind string, r prometheus.Registerer) *Counts {
	if r == nil {
		return nil
	}
	prefix := "apiserver_" + kind + "_config_controller_"
	c := &Counts{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "automatic_reloads_total", Help: "Times that a changed configuration of " + kind + " was read, by outcome.",
		}, []string{"apiserver_id_hash", "status"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "automatic_reload_last_timestamp_seconds", Help: "When a changed configuration of " + kind + " was last read, by outcome.",
		}, []string{"apiserver_id_hash", "status"}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "last_config_info", Help: "1, labelled with the hash of the configuration of " + kind + " in use.",
		}, []string{"apiserver_id_hash", "hash"}),
	}
	r.MustRegister(c.total, c.last, c.info)
	return c
}

// Counted makes the file tell of its changes from now on.
func (f *File[T]) Counted(c *Counts) *File[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts = c
	c.used(f.raw)
	return f
}

func (c *Counts) used(raw []byte) {
	if c != nil {
		c.info.Reset()
		c.info.WithLabelValues(identity.Hash(), identity.HashOf(string(raw))).Set(1)
	}
}

func (c *Counts) outcome(status string, seconds float64) {
	if c != nil {
		c.total.WithLabelValues(identity.Hash(), status).Inc()
		c.last.WithLabelValues(identity.Hash(), status).Set(seconds)
	}
}
