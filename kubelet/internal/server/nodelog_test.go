package server

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
