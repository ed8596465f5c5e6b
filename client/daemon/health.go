package daemon

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Check is a named condition; nil is healthy.
type Check struct {
	Name string
	// ReadyOnly checks count for readiness, not for liveness.
	ReadyOnly bool
	Func      func(ctx context.Context) error
}

// Health answers /healthz, /livez and /readyz, and below each one check, in
// Kubernetes' text form.
type Health struct {
	mu     sync.RWMutex
	checks []Check // guarded by mu
}

// NewHealth has the check "ping", which holds while anything is answered.
func NewHealth() *Health { return &Health{checks: []Check{{Name: "ping"}}} }

// Add appends checks.
func (h *Health) Add(checks ...Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, checks...)
}

// checkTime bounds each check, so that a hung one shows as failed.
const checkTime = 2 * time.Second

func (c *Check) run(ctx context.Context) error {
	if c.Func == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return c.Func(ctx)
}

func (h *Health) of(kind string) []Check {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if kind == "readyz" {
		return slices.Clone(h.checks)
	}
	return slices.DeleteFunc(slices.Clone(h.checks), func(c Check) bool { return c.ReadyOnly })
}

// ServeHTTP implements http.Handler.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	checks := h.of(kind)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if name == "" {
		answerAll(w, r, kind, checks)
		return
	}
	i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	if err := checks[i].run(r.Context()); err != nil {
		http.Error(w, fmt.Sprintf("internal server error: %v", err), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, "ok")
}

func answerAll(w http.ResponseWriter, r *http.Request, kind string, checks []Check) {
	excluded := map[string]bool{}
	for _, v := range r.URL.Query()["exclude"] {
		for _, n := range strings.Split(v, ",") {
			excluded[n] = true
		}
	}
	var text strings.Builder
	failed := false
	for i := range checks {
		c := &checks[i]
		switch {
		case excluded[c.Name]:
			fmt.Fprintf(&text, "[+]%s excluded: ok\n", c.Name)
			delete(excluded, c.Name)
		case c.run(r.Context()) != nil:
			// The reason may tell of the inside; it is at the check's own path.
			fmt.Fprintf(&text, "[-]%s failed: reason withheld\n", c.Name)
			failed = true
		default:
			fmt.Fprintf(&text, "[+]%s ok\n", c.Name)
		}
	}
	for n := range excluded {
		fmt.Fprintf(&text, "warn: some health checks cannot be excluded: no matches for %q\n", n)
	}
	_, verbose := r.URL.Query()["verbose"]
	switch {
	case failed:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "%s%s check failed\n", text.String(), kind)
	case verbose:
		fmt.Fprintf(w, "%s%s check passed\n", text.String(), kind)
	default:
		fmt.Fprint(w, "ok")
	}
}

var healthcheckDesc = prometheus.NewDesc("kubernetes_healthcheck", "This metric records the result of all healthchecks.", []string{"name", "type"}, nil)

// Describe implements prometheus.Collector.
func (h *Health) Describe(ch chan<- *prometheus.Desc) { ch <- healthcheckDesc }

// Collect implements prometheus.Collector.
func (h *Health) Collect(ch chan<- prometheus.Metric) {
	for _, kind := range []string{"healthz", "livez", "readyz"} {
		for _, c := range h.of(kind) {
			v := 1.0
			if c.run(context.Background()) != nil {
				v = 0
			}
			ch <- prometheus.MustNewConstMetric(healthcheckDesc, prometheus.GaugeValue, v, c.Name, kind)
		}
	}
}
