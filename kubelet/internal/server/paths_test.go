package server

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const logText = "2026-01-02T03:04:05Z stdout F one\n2026-01-02T03:04:06Z stderr F two\n2026-01-02T03:04:07Z stdout F three\n"

func TestContainerLogs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	if err := os.WriteFile(path, []byte(logText), 0o600); err != nil {
		t.Fatal(err)
	}
	p := onePod("c", "waiting", "pull", "over", "fresh", "lost", "crashed")
	p.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "waiting", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}},
		{Name: "pull", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}},
		{Name: "over", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}},
		{Name: "crashed", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}, LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}},
		{Name: "fresh", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}},
	}
	e := serveFor(t, &held{pods: []*corev1.Pod{p}, containers: map[string]Container{
		"c": {ID: "1", LogPath: path}, "c/previous": {ID: "0", LogPath: path + ".gone"}, "crashed": {ID: "2", LogPath: path},
	}}, Options{})
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"p/c", 200, "one\ntwo\nthree\n"},
		{"p/c?tailLines=1", 200, "three\n"},
		{"p/c?timestamps=true&limitBytes=33", 200, "2026-01-02T03:04:05.000000000Z on"},
		{"p/c?sinceTime=2026-01-02T03:04:06Z", 200, "two\nthree\n"},
		{"p/c?sinceSeconds=10", 200, ""},
		{"p/c?stream=Stdout", 200, "one\nthree\n"},
		{"p/c?follow=true", 200, "one\ntwo\nthree\n"}, // it no longer runs
		{"p/c?follow=false", 200, "one\ntwo\nthree\n"},
		{"p/c?tailLines=x", 422, "tailLines: \"x\" must be a number of at least 0\n"},
		{"p/c?limitBytes=0", 422, "limitBytes: \"0\" must be a number of at least 1\n"},
		{"p/c?sinceTime=now", 422, "sinceTime: \"now\" must be a time like 2006-01-02T15:04:05Z\n"},
		{"p/c?stream=x", 422, "stream: \"x\" is none of All, Stdout and Stderr\n"},
		{"p/crashed?previous=true&tailLines=1", 200, "three\n"}, // it has not started again
		{"p/crashed?tailLines=1", 200, "three\n"},
		{"none/c", 404, "pod \"none\" does not exist\n"},
		{"p/none", 404, "container \"none\" not found in pod \"p\"\n"},
		{"p/waiting", 400, "container \"waiting\" in pod \"p\" is waiting to start: ContainerCreating\n"},
		{"p/pull", 400, "container \"pull\" in pod \"p\" is waiting to start: trying and failing to pull image\n"},
		{"p/over", 400, "container \"over\" in pod \"p\" is terminated\n"},
		{"p/over?previous=true", 400, "previous terminated container \"over\" in pod \"p\" not found\n"},
		{"p/fresh", 400, "container \"fresh\" in pod \"p\" is waiting to start - no logs yet\n"},
		{"p/lost", 400, "container \"lost\" in pod \"p\" is not available\n"},
	} {
		if code, text := e.get("/containerLogs/default/" + c.path); code != c.code || text != c.want {
			t.Errorf("%s: %d %q", c.path, code, text)
		}
	}
	if code, text := e.get("/containerLogs/default/p/c?previous=true"); code != 404 || !strings.Contains(text, "no such file") {
		t.Errorf("%d %s", code, text)
	}
}

func TestPodsAndWhatIsMissing(t *testing.T) {
	logs := t.TempDir()
	for name, err := range map[string]error{
		"file": os.WriteFile(filepath.Join(logs, "file"), []byte("text"), 0o600),
		"out":  os.Symlink("/etc/passwd", filepath.Join(logs, "out")),
		"pipe": syscall.Mkfifo(filepath.Join(logs, "pipe"), 0o600),
		"in":   os.Symlink("file", filepath.Join(logs, "in")),
	} {
		if err != nil {
			t.Fatal(name, err)
		}
	}
	made := func(_ context.Context, pod *corev1.Pod, container string, timeout time.Duration) (string, error) {
		return "/c/" + pod.Name + "-" + container + timeout.String(), nil
	}
	pods := &held{pods: []*corev1.Pod{onePod("c"), {}}}
	e := serveFor(t, pods, Options{LogDir: logs, Checkpoint: made, Healthz: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })})
	code, text := e.get("/pods")
	var list corev1.PodList
	if err := json.Unmarshal([]byte(text), &list); err != nil || code != 200 || len(list.Items) != 2 || list.Kind != "PodList" || list.APIVersion != "v1" {
		t.Errorf("%d %s %v", code, text, err)
	}
	if _, text := e.get("/runningpods/"); strings.Count(text, `"spec"`) != 1 {
		t.Error(text)
	}
	for path, want := range map[string]string{
		"/healthz": "ok", "/logs/file": "text", "/logs/in": "text",
	} {
		if code, text := e.get(path); code != 200 || text != want {
			t.Errorf("%s: %d %q", path, code, text)
		}
	}
	if code, text := e.get("/logs/"); code != 200 || !strings.Contains(text, `<a href="file">`) {
		t.Errorf("%d %s", code, text)
	}
	for _, path := range []string{"/logs/out", "/logs/pipe", "/logs/../../etc/passwd", "/logs/%2e%2e/%2e%2e/etc/passwd", "/none", "/configz"} {
		if code, text := e.get(path); code != 404 && code != 400 && code != 301 {
			t.Errorf("%s: %d %q", path, code, text)
		}
	}
	if code, _ := e.get("/logs/?query=kubelet"); code != 403 {
		t.Errorf("a query of logs: %d", code)
	}
	if code, text := e.do(e.admin, "", "POST", "/checkpoint/default/p/c?timeout=5"); code != 200 || text != `{"items":["/c/p-c5s"]}` {
		t.Errorf("%d %s", code, text)
	}
	if code, text := e.do(e.admin, "", "POST", "/checkpoint/default/p/c?timeout=-5"); code != 400 {
		t.Errorf("%d %s", code, text)
	}
	e = serveFor(t, pods, Options{LogQuery: true, NoFlags: true})
	for path, want := range map[string]string{
		"/logs/": "logs endpoint is disabled.\n", "/logs/kubelet.log": "logs endpoint is disabled.\n", "/logs/?query=kubelet": "logs endpoint is disabled.\n",
		"/debug/pprof/": "profiling endpoint is disabled.\n", "/debug/pprof/profile?seconds=2": "profiling endpoint is disabled.\n",
		"/debug/flags/v": "flags endpoint is disabled.\n",
	} {
		if code, text := e.get(path); code != 405 || text != want {
			t.Errorf("%s: %d %q", path, code, text)
		}
	}
	e = serveFor(t, pods, Options{NoDebugging: true, Profiling: true, LogDir: logs, LogQuery: true})
	if code, text := e.do(e.admin, "", "POST", "/checkpoint/default/p/c"); code != 404 || !strings.Contains(text, "can't make checkpoints") {
		t.Errorf("%d %s", code, text)
	}
	for _, path := range []string{"/exec/default/p/c", "/containerLogs/default/p/c", "/run/default/p/c"} {
		if code, _ := e.do(e.admin, "", "POST", path); code != 405 {
			t.Errorf("%s: %d", path, code)
		}
	}
	for _, path := range []string{"/logs/", "/logs/file", "/logs/?query=kubelet", "/runningpods/", "/debug/pprof/", "/debug/pprof/cmdline"} {
		if code, text := e.get(path); code != 405 || !strings.Contains(text, "Debug endpoints are disabled.") {
			t.Errorf("%s: %d %q", path, code, text)
		}
	}
}

func TestPlainEndpoints(t *testing.T) {
	s := New(&held{pods: []*corev1.Pod{onePod("c")}}, Options{Healthz: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }), Profiling: true, LogDir: "/var/log"})
	try := func(h http.Handler, path string) int {
		w := &recorder{header: http.Header{}, code: 200}
		q, err := http.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.ServeHTTP(w, q)
		return w.code
	}
	for path, want := range map[string][2]int{
		"/healthz": {200, 200}, "/healthz/ping": {200, 200}, "/pods": {404, 200}, "/exec/default/p/c": {404, 404},
		"/debug/pprof/": {404, 404}, "/logs/": {404, 404}, "/containerLogs/default/p/c": {404, 404}, "/run/default/p/c": {404, 404}, "/metrics": {404, 404}, "/runningpods/": {404, 404},
	} {
		if have := [2]int{try(s.healthHandler(), path), try(s.readOnlyHandler(), path)}; have != want {
			t.Errorf("%s: have %v, want %v", path, have, want)
		}
	}
}

type recorder struct {
	header http.Header
	code   int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }
func (r *recorder) WriteHeader(code int)        { r.code = code }
