package admission

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// measures are the metrics of a chain: of each plugin and of each step.
type measures struct {
	plugins, steps *prometheus.HistogramVec
	// by plugin's place (the last is the step), operation, and whether refused.
	admit, validate []map[Operation]*[2]prometheus.Observer
}

// Measure has a chain tell how long its plugins take.
func (c *Chain) Measure(r prometheus.Registerer) {
	buckets := []float64{0.005, 0.025, 0.1, 0.5, 1.0, 2.5}
	m := &measures{
		plugins: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_admission_controller_admission_duration_seconds", Help: "Seconds that an admission plugin takes.", Buckets: buckets,
		}, []string{"name", "type", "operation", "rejected"}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_admission_step_admission_duration_seconds", Help: "Seconds that all plugins of a step take.", Buckets: buckets,
		}, []string{"type", "operation", "rejected"}),
	}
	r.MustRegister(m.plugins, m.steps)
	m.admit, m.validate = m.observers(c, "admit"), m.observers(c, "validate")
	c.measures = m
}

// observers are made beforehand: a request passes them all.
func (m *measures) observers(c *Chain, step string) []map[Operation]*[2]prometheus.Observer {
	out := make([]map[Operation]*[2]prometheus.Observer, len(c.plugins)+1)
	for i := range out {
		out[i] = map[Operation]*[2]prometheus.Observer{}
		for _, op := range []Operation{Create, Update, Delete, Connect} {
			both := &[2]prometheus.Observer{}
			for j, rejected := range []bool{false, true} {
				if i == len(c.plugins) {
					both[j] = m.steps.WithLabelValues(step, string(op), strconv.FormatBool(rejected))
				} else if p := c.plugins[i]; p.Handles(op) && takesPart(p, step) {
					both[j] = m.plugins.WithLabelValues(p.Name(), step, string(op), strconv.FormatBool(rejected))
				}
			}
			out[i][op] = both
		}
	}
	return out
}

func takesPart(p Plugin, step string) (yes bool) {
	if step == "admit" {
		_, yes = p.(Mutator)
	} else {
		_, yes = p.(Validator)
	}
	return yes
}

// lap measures one call of a step; the end of a plugin begins the next.
type lap struct {
	of          []map[Operation]*[2]prometheus.Observer
	op          Operation
	begun, last time.Time
}

func (m *measures) start(admit bool, op Operation) lap {
	if m == nil {
		return lap{}
	}
	now := time.Now()
	l := lap{of: m.validate, op: op, begun: now, last: now}
	if admit {
		l.of = m.admit
	}
	return l
}

// plugin ends the plugin at a place.
func (l *lap) plugin(i int, err error) {
	if l.of == nil {
		return
	}
	now := time.Now()
	l.observe(i, now.Sub(l.last), err)
	l.last = now
}

// step ends the step.
func (l *lap) step(err error) {
	if l.of != nil {
		l.observe(len(l.of)-1, l.last.Sub(l.begun), err)
	}
}

func (l *lap) observe(i int, d time.Duration, err error) {
	rejected := 0
	if err != nil {
		rejected = 1
	}
	if both := l.of[i][l.op]; both != nil && both[rejected] != nil {
		both[rejected].Observe(d.Seconds())
	}
}
