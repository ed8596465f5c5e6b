package daemon

import (
	"encoding/json"
	"net/http"
	"sync"
)

// Configz answers /configz with the configurations in force, by name.
type Configz struct {
	mu     sync.Mutex
	values map[string]any // guarded by mu
}

// Set makes a configuration show, "kubescheduler.config.k8s.io" for example.
func (c *Configz) Set(name string, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = map[string]any{}
	}
	c.values[name] = value
}

// ServeHTTP implements http.Handler.
func (c *Configz) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	raw, err := json.Marshal(c.values)
	c.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache, private")
	_, _ = w.Write(raw) // the client is gone
}
