package server

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// leaving refuses requests once the server has told its clients for long
// enough that it stops (--shutdown-send-retry-after): what they sent before is
// answered, and they come back elsewhere.
func (s *Server) leaving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.refusing.Load() || askedWhileLeaving(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Retry-After", "5")
		w.Header().Set("Connection", "close")
		http.Error(w, "The apiserver is shutting down, please try again later.", http.StatusTooManyRequests)
	})
}

// askedWhileLeaving takes what watches the server itself.
func askedWhileLeaving(path string) bool {
	for _, p := range []string{"/healthz", "/livez", "/readyz", "/metrics"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// refuse begins to refuse, and waits for what is being served.
func (s *Server) refuse(ctx context.Context) {
	s.refusing.Store(true)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if s.limits.Active() == 0 {
			tick.Stop()
			return
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}
