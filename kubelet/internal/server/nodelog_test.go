package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLogQuery(t *testing.T) {
	for given, want := range map[string]string{
		"query=kubelet":                   "--unit=kubelet",
		"query=kubelet&query=crio&boot=0": "--boot=0 --unit=kubelet --unit=crio",
		"query=a&tailLines=5&pattern=b c": "--lines=5 --grep=b c --unit=a",
		"query=a&sinceTime=2026-01-02T15:04:05%2B01:00&untilTime=2026-01-02T15:04:05.5Z": "--since=2026-01-02 14:04:05 UTC --until=2026-01-02 15:04:05.5 UTC --unit=a",
		"query=getty@tty1.service&pattern=--help":                                        "--grep=--help --unit=getty@tty1.service",
	} {
		values, err := url.ParseQuery(given)
		if err != nil {
			t.Fatal(err)
		}
		q, err := parseLogQuery(values)
		if err != nil {
			t.Errorf("%s: %v", given, err)
			continue
		}
		if got := strings.Join(q.arguments()[4:], " "); got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
		understood(t, q.arguments())
	}
	for given, want := range map[string]string{
		"query=":                      "query: name a service",
		"query=/":                     `query: "/" names no file`,
		"query=//&query=b":            `query: "//" names no file`,
		"query=a/..":                  `query: "a/.." names no file`,
		"query=--help":                `query: "--help" is no name of a service`,
		"query=a%20b":                 "is no name of a service",
		"query=/a&query=/b":           "only one file",
		"query=/a&query=b":            "services and a file",
		"query=a&tailLines=many":      `tailLines: "many" must be a number between 0 and 100000`,
		"query=a&tailLines=-1":        "tailLines: ",
		"query=a&boot=1":              "boot: ",
		"query=a&sinceTime=yesterday": `sinceTime: "yesterday" must be a time of RFC 3339`,
		"query=/a&tailLines=1":        "not from files",
		"query=a&pattern=" + strings.Repeat("x", 2000):                          "a pattern of 1024 bytes",
		"query=a&sinceTime=2026-01-02T15:04:05Z&untilTime=2026-01-02T15:04:04Z": "untilTime: must not be before sinceTime",
	} {
		values, err := url.ParseQuery(given)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseLogQuery(values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", given, err, want)
		}
	}
}

// understood asks journalctl itself, where there is one, whether it takes the
// arguments.
func understood(t *testing.T, args []string) {
	t.Helper()
	if _, err := exec.LookPath("journalctl"); err != nil {
		return
	}
	out, _ := exec.Command("journalctl", append([]string{"--directory=" + t.TempDir()}, args...)...).CombinedOutput() // no journal, no match: 1
	if text := string(out); strings.Contains(text, "option") || strings.Contains(text, "parse") {
		t.Errorf("journalctl %q: %s", args, text)
	}
}

// What no journal has is in files of the service's name; nothing outside of
// the directory is shown.
func TestLogFiles(t *testing.T) {
	logs := t.TempDir()
	const service = "xebec-no-such-service"
	for name, text := range map[string]string{service + ".log": "of the service", "other/other.log": "of the other", "syslog": "of all"} {
		path := filepath.Join(logs, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(logs, "out.log")); err != nil {
		t.Fatal(err)
	}
	e := serveFor(t, &held{}, Options{LogDir: logs, LogQuery: true})
	for _, c := range []struct {
		query, want string
		code        int
	}{
		{"query=" + service, "of the service", 200},
		{"query=other", "of the other", 200},
		{"query=/syslog", "of all", 200},
		{"query=/other/other.log", "of the other", 200},
		{"query=" + service + "&tailLines=1", "options present and query resolved to log files for " + service, 406},
		{"query=" + service + "&query=other", "log not found for " + service + ", other", 404},
		{"query=xebec-nowhere", "log not found for xebec-nowhere", 404},
		{"query=out", "log not found for out", 404},
		{"query=..", "log not found for ..", 404},
		{"query=/../../etc/passwd", "log not found for /etc/passwd", 404},
		{"query=/other", "log not found for /other", 404},
		{"query=a&boot=7", "boot: ", 406},
	} {
		if code, text := e.get("/logs/?" + c.query); code != c.code || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s: %d %q, want %d %q", c.query, code, text, c.code, c.want)
		}
	}
}

// journalOf has journalctl be a script that says what a service's journal has.
func journalOf(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\ncase \"$*\" in *--lines=1\\ *) echo something; exit;; esac\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// An answer that is not all there is says so, and only such a one.
func TestJournalCutOff(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"whole", "echo one", "one\n"},
		{"nothing matched", "exit 1", ""},
		{"refused", "echo bad pattern >&2; exit 1", "bad pattern\n"},
		{"too much", "echo one; exec sleep 10000", "error: the journal is cut off here, after 200ms: ask for less of it, by sinceTime, untilTime, tailLines or pattern\n"},
		{"killed", "echo one; kill -9 $$", "one\nerror: the journal is cut off here: journalctl: signal: killed\n"},
	} {
		journalOf(t, c.script)
		e := serveWith(t, &held{}, Options{LogDir: t.TempDir(), LogQuery: true}, func(s *Server) {
			if s.journalTime = time.Hour; c.name == "too much" {
				s.journalTime = 200 * time.Millisecond
			}
		})
		if code, text := e.get("/logs/?query=kubelet"); code != 200 || text != c.want && (c.name != "too much" || text != "one\n"+c.want) {
			t.Errorf("%s: %d %q", c.name, code, text)
		}
	}
}

// Who goes away, or stays and reads nothing, holds nothing.
func TestReadersWhoDoNotRead(t *testing.T) {
	logs := t.TempDir()
	large, err := os.Create(filepath.Join(logs, "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	if err := large.Truncate(1 << 36); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, script, path string
		goes               bool
	}{
		{"goes from a journal that says nothing", "exec sleep 10000", "/logs/?query=kubelet", true},
		{"goes from a journal that says much", "exec yes", "/logs/?query=kubelet", true},
		{"reads nothing of a journal", "exec yes", "/logs/?query=kubelet", false},
		{"reads nothing of a file", "", "/logs/large", false},
	} {
		journalOf(t, c.script)
		began, ended := make(chan bool), make(chan bool)
		e := serveWith(t, &held{}, Options{LogDir: logs, LogQuery: true, Served: func(string, string, bool) func() {
			close(began)
			return func() { close(ended) }
		}}, func(s *Server) {
			if s.journalTime, s.stallTime = time.Hour, 100*time.Millisecond; c.goes {
				s.stallTime = time.Hour
			}
		})
		config := e.tls(e.admin)
		config.NextProtos = []string{"http/1.1"}
		conn, err := tls.Dial("tcp", e.address, config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: n\r\n\r\n", c.path); err != nil {
			t.Fatal(err)
		}
		<-began
		if c.goes {
			conn.Close()
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Errorf("%s: it is still being served", c.name)
		}
		conn.Close()
	}
}

// clocked is a response that notes its deadline.
type clocked struct {
	recorder
	deadline time.Time
	written  []time.Time // the deadlines of what was sent
}

func (c *clocked) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }

func (c *clocked) Write(p []byte) (int, error) {
	c.written = append(c.written, c.deadline)
	return len(p), nil
}

func (c *clocked) FlushError() error { c.written = append(c.written, c.deadline); return nil }

// Each part of an answer has its time, and the next answer of the connection
// does not inherit the last.
func TestPaced(t *testing.T) {
	c := &clocked{}
	p := paced{ResponseWriter: c, control: http.NewResponseController(c), stall: time.Hour}
	before := time.Now()
	for range 2 {
		if _, err := p.Write(nil); err != nil {
			t.Fatal(err)
		}
	}
	p.finish()
	if len(c.written) != 3 || !c.deadline.IsZero() {
		t.Errorf("deadlines %v, in the end %v", c.written, c.deadline)
	}
	for i, at := range c.written {
		if at.Before(before.Add(time.Hour)) {
			t.Errorf("deadline %d is %v", i, at)
		}
	}
}
