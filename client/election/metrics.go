package election

import "github.com/prometheus/client_golang/prometheus"

// Metrics is leader_election_master_status; a nil one collects nothing.
type Metrics struct{ *prometheus.GaugeVec }

// NewMetrics makes metrics, to be registered by the caller.
func NewMetrics() *Metrics {
	return &Metrics{prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "leader_election_master_status",
		Help: "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. 'name' is the string used to identify the lease. Please make sure to group by name.",
	}, []string{"name"})}
}

func (m *Metrics) set(name string, leader bool) {
	if m == nil {
		return
	}
	v := 0.0
	if leader {
		v = 1
	}
	m.WithLabelValues(name).Set(v)
}
