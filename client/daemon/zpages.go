package daemon

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// page serves a text for people, as Kubernetes' components do.
func (p *Process) page(name string, write func(*strings.Builder)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var text strings.Builder
		fmt.Fprintf(&text, "\n%s %s\nWarning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.\n\n", p.Name, name)
		write(&text)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write([]byte(text.String())) // the client is gone
	}
}

// Flagz lists all flags with their values.
func (p *Process) Flagz() http.Handler {
	return p.page("flagz", func(text *strings.Builder) {
		p.flags.VisitAll(func(f *pflag.Flag) { fmt.Fprintf(text, "%s=%s\n", f.Name, f.Value) })
	})
}

// Statusz says which program this is, since when it runs and what it serves.
func (p *Process) Statusz(paths ...string) http.Handler {
	version := strings.TrimPrefix(GitVersion, "v")
	minor := version
	if parts := strings.SplitN(version, ".", 3); len(parts) == 3 {
		minor = parts[0] + "." + parts[1]
	}
	return p.page("statusz", func(text *strings.Builder) {
		up := time.Since(p.started)
		fmt.Fprintf(text, "Started: %s\nUp: %d hr %02d min %02d sec\nGo version: %s\nBinary version: %s\nEmulation version: %s\nPaths: %s\n",
			p.started.UTC().Format(time.UnixDate), int(up.Hours()), int(up.Minutes())%60, int(up.Seconds())%60,
			runtime.Version(), version, minor, strings.Join(paths, " "))
	})
}
