// Package supervise keeps a node's daemons running where no systemd does: it
// starts them, again with a growing pause when they end, keeps their logs, and
// takes orders over a socket. Daemons outlive the supervisor; one that comes
// back takes them over.
package supervise

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Daemon is a program to keep running.
type Daemon struct {
	Name string
	// Needs are files that must be there before it starts.
	Needs []string
	// Command is asked at each start: configuration may have changed.
	Command func() (argv, env []string, err error)
}

// Supervisor of the daemons of a node.
type Supervisor struct {
	// Dir has the socket and the process ids; Logs a file per daemon.
	Dir, Logs string
	Daemons   []Daemon
	Out       func(format string, args ...any)
}

// Socket is where a supervisor listens.
func Socket(dir string) string { return filepath.Join(dir, "supervisor.sock") }

// Run supervises until the context ends or somebody says stop. Daemons are
// stopped, the last first, only in the latter case.
func (s *Supervisor) Run(ctx context.Context) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Logs, 0o755); err != nil {
		return err
	}
	path := Socket(s.Dir)
	if err := Ask(path, "status"); err == nil {
		return fmt.Errorf("another supervisor listens at %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keepers := make([]*keeper, len(s.Daemons))
	var running sync.WaitGroup
	for i, d := range s.Daemons {
		keepers[i] = &keeper{Daemon: d, dir: s.Dir, logs: s.Logs, out: s.Out, orders: make(chan order)}
		running.Go(func() { keepers[i].run(ctx) })
	}
	go func() {
		<-ctx.Done()
		l.Close()
	}()
	stopped := s.listen(ctx, l, keepers)
	cancel()
	running.Wait()
	if stopped {
		return os.Remove(filepath.Join(s.Dir, "supervisor.pid"))
	}
	return nil
}

// listen takes orders until the listener closes; true is for stop.
func (s *Supervisor) listen(ctx context.Context, l net.Listener, keepers []*keeper) bool {
	for {
		conn, err := l.Accept()
		if err != nil {
			return false
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil {
			words := strings.Fields(line)
			err = obey(ctx, words, keepers)
			if len(words) == 1 && words[0] == "stop" && err == nil {
				fmt.Fprintln(conn, "ok")
				conn.Close()
				return true
			}
		}
		if err != nil {
			fmt.Fprintln(conn, "error:", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Fprintln(conn, "ok")
		}
		conn.Close()
	}
}

func obey(ctx context.Context, words []string, keepers []*keeper) error {
	switch {
	case len(words) == 1 && words[0] == "status":
		return nil
	case len(words) == 1 && words[0] == "stop":
		var errs []error
		for i := len(keepers) - 1; i >= 0; i-- {
			errs = append(errs, keepers[i].order(ctx, "stop"))
		}
		return errors.Join(errs...)
	case len(words) == 2:
		for _, k := range keepers {
			if k.Name == words[1] {
				return k.order(ctx, words[0])
			}
		}
		return fmt.Errorf("there is no daemon %q", words[1])
	}
	return fmt.Errorf("order %q: expected status, stop, or start, stop, restart, kill with a daemon", strings.Join(words, " "))
}

// Ask gives an order to the supervisor at a socket: "status", "stop",
// "restart kubelet".
func Ask(socket, what string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(conn, what); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the supervisor at %s gave no answer to %q: %w", socket, what, err)
	}
	if said, bad := strings.CutPrefix(strings.TrimSpace(answer), "error: "); bad {
		return errors.New(said)
	}
	return nil
}

// Pid of a daemon that runs, or 0.
func Pid(dir, name string) int {
	p, err := readPid(filepath.Join(dir, name+".pid"))
	if err != nil || !p.alive() {
		return 0
	}
	return p.pid
}

// process is named by its id and when it began: ids come again.
type process struct {
	pid   int
	began string
}

func readPid(file string) (process, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return process{}, err
	}
	pid, began, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	n, err := strconv.Atoi(pid)
	return process{n, began}, err
}

func (p process) alive() bool {
	began, state := stat(p.pid)
	return began != "" && began == p.began && state != "Z"
}

// stat is when a process began, in clock ticks since the machine did, and its
// state.
func stat(pid int) (began, state string) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", ""
	}
	// The name, in parentheses, may hold anything.
	_, rest, ok := strings.Cut(string(raw[strings.LastIndexByte(string(raw), ')'):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return "", ""
	}
	return fields[19], fields[0]
}
