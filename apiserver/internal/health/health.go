// Package health answers /healthz, /livez and /readyz with named checks, in
// the text form that kubectl, kubelets and load balancers know.
package health

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Check is one named condition; nil is healthy.
type Check struct {
	Name string
	// Ready checks count for readiness only, not for liveness.
	ReadyOnly bool
	Func      func(ctx context.Context) error
}

// Handler serves the three paths and one below them per check.
type Handler struct {
	// Observed, when set, is told the outcome of each check that is run, and
	// of which kind of question it was a part.
	Observed func(kind, check string, err error)

	mu     sync.RWMutex
	checks []Check // guarded by mu
}

// Add appends a check.
func (h *Handler) Add(checks ...Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, checks...)
}

// checkTime bounds each check, so that a hung one shows as failed.
const checkTime = 2 * time.Second

// ServeHTTP answers /healthz, /livez, /readyz and /readyz/NAME.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	kind, name, _ := strings.Cut(path, "/")
	checks := h.of(kind)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if name != "" {
		h.one(w, r, kind, name, checks)
		return
	}
	h.all(w, r, kind, checks)
}

// Names lists the checks of "healthz", "livez" or "readyz".
func (h *Handler) Names(kind string) []string {
	var out []string
	for _, c := range h.of(kind) {
		out = append(out, c.Name)
	}
	return out
}

func (h *Handler) of(kind string) []Check {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if kind == "readyz" {
		return slices.Clone(h.checks)
	}
	var out []Check
	for _, c := range h.checks {
		if !c.ReadyOnly {
			out = append(out, c)
		}
	}
	return out
}

func (h *Handler) run(ctx context.Context, kind string, c *Check) (err error) {
	if c.Func != nil {
		ctx, cancel := context.WithTimeout(ctx, checkTime)
		defer cancel()
		err = c.Func(ctx)
	}
	if h.Observed != nil {
		h.Observed(kind, c.Name, err)
	}
	return err
}

func (h *Handler) one(w http.ResponseWriter, r *http.Request, kind, name string, checks []Check) {
	i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, "404 page not found")
		return
	}
	if err := h.run(r.Context(), kind, &checks[i]); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "internal server error: %v\n", err)
		return
	}
	fmt.Fprint(w, "ok")
}

func (h *Handler) all(w http.ResponseWriter, r *http.Request, kind string, checks []Check) {
	excluded := map[string]bool{}
	for _, v := range r.URL.Query()["exclude"] {
		for _, n := range strings.Split(v, ",") {
			excluded[n] = true
		}
	}
	var text strings.Builder
	var failed []string
	for i := range checks {
		c := &checks[i]
		if excluded[c.Name] {
			fmt.Fprintf(&text, "[+]%s excluded: ok\n", c.Name)
			delete(excluded, c.Name)
			continue
		}
		if err := h.run(r.Context(), kind, c); err != nil {
			// The reason may tell of the inside; it is in the log.
			fmt.Fprintf(&text, "[-]%s failed: reason withheld\n", c.Name)
			failed = append(failed, c.Name)
			continue
		}
		fmt.Fprintf(&text, "[+]%s ok\n", c.Name)
	}
	for n := range excluded {
		fmt.Fprintf(&text, "warn: some health checks cannot be excluded: no matches for %q\n", n)
	}
	if len(failed) > 0 {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "%s%s check failed\n", text.String(), kind)
		return
	}
	if _, verbose := r.URL.Query()["verbose"]; verbose {
		fmt.Fprintf(w, "%s%s check passed\n", text.String(), kind)
		return
	}
	fmt.Fprint(w, "ok")
}
