package server

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"xebec.dev/apiserver/internal/rest"
	"xebec.dev/apiserver/internal/version"
)

const notForMachines = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only."

// page serves a text for people.
func page(name string, write func(*strings.Builder)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			rest.MethodNotAllowed(w, r)
			return
		}
		var text strings.Builder
		fmt.Fprintf(&text, "\nkube-apiserver %s\n%s\n\n", name, notForMachines)
		write(&text)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(text.String())) // the client is gone
	}
}

// flagz lists all flags with their values.
func (s *Server) flagz() http.HandlerFunc {
	return page("flagz", func(text *strings.Builder) {
		for _, f := range s.cfg.Values() {
			fmt.Fprintf(text, "%s=%s\n", f.Name, f.Value)
		}
	})
}

// statusz says which program this is and since when it runs.
func (s *Server) statusz() http.HandlerFunc {
	started := time.Now()
	return page("statusz", func(text *strings.Builder) {
		up, v := time.Since(started), version.Get()
		fmt.Fprintf(text, "Started: %s\nUp: %d hr %02d min %02d sec\nGo version: %s\nBinary version: %s\nEmulation version: %s.%s\nPaths: %s\n",
			started.UTC().Format(time.UnixDate), int(up.Hours()), int(up.Minutes())%60, int(up.Seconds())%60,
			v.GoVersion, strings.TrimPrefix(v.GitVersion, "v"), v.EmulationMajor, v.EmulationMinor,
			"/flagz /healthz /livez /metrics /metrics/slis /readyz /statusz /version")
	})
}
