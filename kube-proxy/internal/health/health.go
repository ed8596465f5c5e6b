// Package health tells load balancers whether to send to this node: at the
// health check port of each Service with external traffic policy Local, and
// for the node as a whole at /healthz.
package health

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Proxy knows whether the kernel is up to date.
type Proxy struct {
	// Timeout is how long a change may wait to be in the kernel.
	Timeout time.Duration

	now   func() time.Time
	codes [2]*prometheus.CounterVec // healthz, livez

	mu sync.Mutex
	// guarded by mu
	queued   time.Time // of the oldest change that is not in the kernel; zero when all are
	updated  time.Time // zero before the first
	eligible bool
}

// NewProxy makes a Proxy that nothing has been done for.
func NewProxy(timeout time.Duration) *Proxy {
	p := &Proxy{Timeout: timeout, now: time.Now, eligible: true}
	for i, name := range []string{"proxy_healthz_total", "proxy_livez_total"} {
		p.codes[i] = prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "kubeproxy", Name: name, Help: "Cumulative proxy " + [...]string{"healthz", "livez"}[i] + " HTTP status",
		}, []string{"code"})
	}
	return p
}

// Collectors are the metrics.
func (p *Proxy) Collectors() []prometheus.Collector {
	return []prometheus.Collector{p.codes[0], p.codes[1]}
}

// Queued notes that there is something to do.
func (p *Proxy) Queued() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queued.IsZero() {
		p.queued = p.now()
	}
}

// Updated notes that all is done.
func (p *Proxy) Updated() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queued, p.updated = time.Time{}, p.now()
}

// Node notes whether the node takes new connections of load balancers.
func (p *Proxy) Node(eligible bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eligible = eligible
}

// status says whether the kernel is up to date, since when, and whether the
// node is one for load balancers.
func (p *Proxy) status() (healthy, eligible bool, updated, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.now()
	updated = p.updated
	healthy = !updated.IsZero() && (p.queued.IsZero() || now.Sub(p.queued) < p.Timeout)
	if healthy && p.queued.IsZero() {
		updated = now // nothing has been left undone up to now
	}
	return healthy, p.eligible, updated, now
}

// Healthy tells whether the kernel is up to date.
func (p *Proxy) Healthy() bool {
	healthy, _, _, _ := p.status()
	return healthy
}

// Register adds /healthz and /livez.
func (p *Proxy) Register(mux *http.ServeMux) {
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		healthy, eligible, updated, now := p.status()
		p.answer(w, 0, healthy && eligible, fmt.Sprintf(`{"lastUpdated": %q,"currentTime": %q, "nodeEligible": %v}`, clock(updated), clock(now), eligible))
	})
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) {
		healthy, _, updated, now := p.status()
		p.answer(w, 1, healthy, fmt.Sprintf(`{"lastUpdated": %q,"currentTime": %q}`, clock(updated), clock(now)))
	})
}

func clock(t time.Time) string { return t.Round(0).String() }

func (p *Proxy) answer(w http.ResponseWriter, which int, ok bool, body string) {
	code := http.StatusOK
	if !ok {
		code = http.StatusServiceUnavailable
	}
	p.codes[which].WithLabelValues(fmt.Sprint(code)).Inc()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(body)) // the client is gone
}

// answer at the health check port of a Service.
type answer struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

func writeService(w http.ResponseWriter, namespace, name string, local int, healthy bool) {
	a := answer{LocalEndpoints: local, ServiceProxyHealthy: healthy}
	a.Service.Namespace, a.Service.Name = namespace, name
	raw, err := json.MarshalIndent(a, "", "\t")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", fmt.Sprint(local))
	if local == 0 || !healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(raw) // the client is gone
}
