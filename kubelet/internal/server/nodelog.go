package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a query of the node's logs.
const (
	maxLogLines   = 100000
	maxPattern    = 1024
	maxServices   = 20
	lookTime      = 30 * time.Second // for whether it has anything of some services
	journalTime   = 30 * time.Second
	journalFormat = "2006-01-02 15:04:05.999999999 UTC" // as journalctl reads
)

// logQuery is what somebody wants to see of the node's own logs.
type logQuery struct {
	services     []string
	file         string // below the directory of logs
	boot         *int   // 0 is this one, -1 the one before
	lines        *int
	since, until *time.Time
	pattern      string
}

// serviceName is what may be a unit's: nothing of it is an option or a path.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9_@:.\\][-A-Za-z0-9_@:.\\]{0,255}$`)

// parseLogQuery reads a request's parameters. Errors name the parameter.
func parseLogQuery(q url.Values) (*logQuery, error) {
	out := &logQuery{pattern: q.Get("pattern")}
	for _, name := range q["query"] {
		switch {
		case strings.ContainsAny(name, "/"):
			if out.file != "" {
				return nil, errors.New("query: only one file can be asked for")
			}
			if out.file = path.Clean("/" + name)[1:]; out.file == "" {
				return nil, fmt.Errorf("query: %q names no file; as in query=/syslog", name)
			}
		case name == "":
			return nil, errors.New("query: name a service, as in query=kubelet, or a file, as in query=/syslog")
		case !serviceName.MatchString(name):
			return nil, fmt.Errorf("query: %q is no name of a service", name)
		default:
			out.services = append(out.services, name)
		}
	}
	if out.file != "" && len(out.services) > 0 {
		return nil, errors.New("query: services and a file can't be asked for together")
	}
	if len(out.services) > maxServices || len(out.pattern) > maxPattern {
		return nil, fmt.Errorf("query: at most %d services, and a pattern of %d bytes", maxServices, maxPattern)
	}
	var errs []error
	number := func(name string, low, high int) *int {
		text := q.Get(name)
		if text == "" {
			return nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			errs = append(errs, fmt.Errorf("%s: %q must be a number between %d and %d", name, text, low, high))
		}
		return &n
	}
	moment := func(name string) *time.Time {
		text := q.Get(name)
		if text == "" {
			return nil
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %q must be a time of RFC 3339, as in 2026-01-02T15:04:05Z", name, text))
		}
		return &t
	}
	out.boot, out.lines = number("boot", -maxLogLines, 0), number("tailLines", 0, maxLogLines)
	out.since, out.until = moment("sinceTime"), moment("untilTime")
	if out.since != nil && out.until != nil && out.until.Before(*out.since) {
		errs = append(errs, errors.New("untilTime: must not be before sinceTime"))
	}
	if out.file != "" && out.picks() {
		errs = append(errs, errors.New("boot, pattern, sinceTime, tailLines and untilTime choose from services' logs, not from files"))
	}
	return out, errors.Join(errs...)
}

// picks reports whether only some of the lines are asked for.
func (q *logQuery) picks() bool {
	return q.boot != nil || q.lines != nil || q.since != nil || q.until != nil || q.pattern != ""
}

// arguments are journalctl's.
func (q *logQuery) arguments() []string {
	out := []string{"--utc", "--no-pager", "--quiet", "--output=short-precise"}
	if q.since != nil {
		out = append(out, "--since="+q.since.UTC().Format(journalFormat))
	}
	if q.until != nil {
		out = append(out, "--until="+q.until.UTC().Format(journalFormat))
	}
	if q.lines != nil {
		out = append(out, "--lines="+strconv.Itoa(*q.lines))
	}
	if q.boot != nil {
		out = append(out, "--boot="+strconv.Itoa(*q.boot))
	}
	if q.pattern != "" {
		out = append(out, "--grep="+q.pattern)
	}
	for _, s := range q.services {
		out = append(out, "--unit="+s)
	}
	return out
}

// files are where a service's log is that no journal has.
func logFiles(service string) []string {
	return []string{service, service + ".log", path.Join(service, service+".log")}
}

// queryLogs answers a query of the node's logs: the journal's, or where it has
// nothing of a service, a file of the service's name.
func (s *Server) queryLogs(w http.ResponseWriter, r *http.Request) {
	if !s.o.LogQuery {
		http.Error(w, "the node log query is disabled on this node (enableSystemLogQuery)", http.StatusForbidden)
		return
	}
	q, err := parseLogQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotAcceptable)
		return
	}
	if q.file == "" {
		missing := notInJournal(r.Context(), q.services)
		if len(missing) == 0 {
			s.journal(r.Context(), w, q)
			return
		}
		if len(q.services) > 1 {
			http.Error(w, "log not found for "+strings.Join(missing, ", "), http.StatusNotFound)
			return
		}
	}
	s.logFile(w, r, q)
}

// notInJournal are the services of which the journal has nothing.
func notInJournal(ctx context.Context, units []string) []string {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	return slices.DeleteFunc(slices.Clone(units), func(unit string) bool {
		out, err := exec.CommandContext(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=1", "--unit="+unit).Output()
		return err == nil && len(out) > 0
	})
}

// journal answers with what journalctl says. An answer that is not whole says so
// at its end: by then its status has been sent.
func (s *Server) journal(ctx context.Context, w http.ResponseWriter, q *logQuery) {
	ctx, cancel := context.WithTimeout(ctx, s.journalTime)
	defer cancel()
	c := exec.CommandContext(ctx, "journalctl", q.arguments()...)
	said := &strings.Builder{}
	c.Stderr, c.WaitDelay = said, time.Second
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("ask the journal: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if _, err := io.Copy(w, out); err != nil {
		cancel() // nobody reads any more, and who writes must not wait for that
	}
	err = c.Wait()
	var exit *exec.ExitError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		fmt.Fprintf(w, "error: the journal is cut off here, after %v: ask for less of it, by sinceTime, untilTime, tailLines or pattern\n", s.journalTime)
	case err == nil || ctx.Err() != nil:
	case said.Len() > 0:
		fmt.Fprintln(w, strings.TrimSpace(said.String()))
	case !errors.As(err, &exit) || !exit.Exited(): // an exit says that nothing matched
		fmt.Fprintf(w, "error: the journal is cut off here: journalctl: %v\n", err)
	}
}

// logFile serves the file of a query, or of its only service.
func (s *Server) logFile(w http.ResponseWriter, r *http.Request, q *logQuery) {
	root, err := os.OpenRoot(s.o.LogDir)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer root.Close()
	plain, names, what := plainFiles{root.FS()}, []string{q.file}, "/"+q.file
	if q.file == "" {
		names, what = logFiles(q.services[0]), q.services[0]
	}
	for _, name := range names {
		f, err := plain.Open(name)
		if err != nil {
			continue
		}
		defer f.Close()
		if info, err := f.Stat(); err != nil || info.IsDir() {
			continue
		}
		if q.picks() {
			http.Error(w, fmt.Sprintf("options present and query resolved to log files for %s\ntry without specifying options", what), http.StatusNotAcceptable)
			return
		}
		http.ServeFileFS(w, r, only{f}, path.Base(name))
		return
	}
	http.Error(w, "log not found for "+what, http.StatusNotFound)
}

// only is a file system of one file, which is open.
type only struct{ fs.File }

// Open implements fs.FS.
func (o only) Open(string) (fs.File, error) { return o.File, nil }
