package supervise

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sleeper is a supervisor of one program that sleeps and writes its start to
// its log.
func sleeper(t *testing.T, dir string) *Supervisor {
	return &Supervisor{Dir: dir, Logs: dir, Out: t.Logf, Daemons: []Daemon{{Name: "d", Needs: []string{filepath.Join(dir, "go")},
		Command: func() (argv, env []string, err error) {
			return []string{"sh", "-c", "echo started $WORD; exec sleep 1000"}, []string{"WORD=well"}, nil
		}}}}
}

func start(t *testing.T, s *Supervisor) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	eventually(t, "the supervisor answers", func() bool { return Ask(Socket(s.Dir), "status") == nil })
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("supervisor: %v", err)
		}
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after a minute: %s", what)
		}
	}
}

func running(t *testing.T, s *Supervisor, not int) int {
	t.Helper()
	pid := 0
	eventually(t, "the daemon runs", func() bool { pid = Pid(s.Dir, "d"); return pid != 0 && pid != not })
	return pid
}

func ask(t *testing.T, s *Supervisor, what string) {
	t.Helper()
	if err := Ask(Socket(s.Dir), what); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// shortDir is a directory whose sockets have an address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sup")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestLife(t *testing.T) {
	s := sleeper(t, shortDir(t))
	stop := start(t, s)
	if pid := Pid(s.Dir, "d"); pid != 0 {
		t.Errorf("it was started before what it needs was there: %d", pid)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	first := running(t, s, 0)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := running(t, s, first)
	ask(t, s, "restart d")
	third := running(t, s, second)
	ask(t, s, "kill d")
	fourth := running(t, s, third)
	ask(t, s, "stop d")
	if pid := Pid(s.Dir, "d"); pid != 0 {
		t.Errorf("process %d runs after a stop", pid)
	}
	ask(t, s, "start d")
	running(t, s, fourth)
	for order, want := range map[string]string{"restart other": "no daemon", "sing": "expected", "sing d": "expected"} {
		if err := Ask(Socket(s.Dir), order); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", order, err)
		}
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another supervisor") {
		t.Errorf("a second supervisor: %v", err)
	}
	if raw, err := os.ReadFile(filepath.Join(s.Logs, "d.log")); err != nil || strings.Count(string(raw), "started well\n") < 4 {
		t.Errorf("log %q: %v", raw, err)
	}
	ask(t, s, "stop d")
	stop()
}

// TestDaemonsOutliveTheSupervisor, and the next one takes them over.
func TestDaemonsOutliveTheSupervisor(t *testing.T) {
	s := sleeper(t, shortDir(t))
	if err := os.WriteFile(filepath.Join(s.Dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	stop := start(t, s)
	pid := running(t, s, 0)
	stop()
	if Pid(s.Dir, "d") != pid {
		t.Fatal("the daemon went with its supervisor")
	}
	start(t, s)
	if got := running(t, s, 0); got != pid {
		t.Errorf("process %d was started beside %d", got, pid)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "supervisor.pid"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ask(t, s, "stop")
	if Pid(s.Dir, "d") != 0 {
		t.Error("the daemon runs after a stop of all")
	}
}

func TestPidOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "d.pid"), []byte("1 99999999999\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if pid := Pid(dir, "d"); pid != 0 {
		t.Errorf("process %d began at another time: the id came again", pid)
	}
}
