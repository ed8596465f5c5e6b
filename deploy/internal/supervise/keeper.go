package supervise

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Pauses between starts, and how long a run must last for the first to count
// again.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	goodRun    = 30 * time.Second
	// stopGrace is what a daemon has between SIGTERM and SIGKILL.
	stopGrace = 20 * time.Second
	// maxLog is the size at which a log is put aside, as NAME.log.1.
	maxLog = 64 << 20
)

type order struct {
	what string
	done chan error
}

// keeper keeps one daemon; its goroutine owns the daemon's process.
type keeper struct {
	Daemon
	dir, logs string
	out       func(string, ...any)
	orders    chan order
}

func (k *keeper) order(ctx context.Context, what string) error {
	o := order{what, make(chan error, 1)}
	select {
	case k.orders <- o:
		return <-o.done
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run is a small machine: a daemon is wanted or not, and runs or does not.
func (k *keeper) run(ctx context.Context) {
	var (
		wanted  = true
		running process
		began   time.Time
		pause   = firstPause
		next    time.Time
	)
	// One of an earlier supervisor is taken over.
	if p, err := readPid(k.pidFile()); err == nil && p.alive() {
		running, began = p, time.Now()
		k.out("%s: took over process %d", k.Name, p.pid)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-k.orders:
			var err error
			switch o.what {
			case "start":
				wanted, next = true, time.Time{}
			case "restart":
				err = k.stop(running)
				wanted, running, pause, next = true, process{}, firstPause, time.Time{}
			case "stop":
				wanted = false
				err = k.stop(running)
				running = process{}
			case "kill":
				if running.pid != 0 {
					err = syscall.Kill(running.pid, syscall.SIGKILL)
				}
			default:
				err = fmt.Errorf("order %q: expected start, stop, restart or kill", o.what)
			}
			o.done <- err
		case <-tick.C:
		}
		if running.pid != 0 && !running.alive() {
			k.out("%s: process %d ended after %s; see %s", k.Name, running.pid, time.Since(began).Round(time.Millisecond), k.logFile())
			if time.Since(began) > goodRun {
				pause = firstPause
			}
			running, next = process{}, time.Now().Add(pause)
			pause = min(2*pause, lastPause)
		}
		if wanted && running.pid == 0 && !time.Now().Before(next) && k.ready() {
			p, err := k.start()
			if err != nil {
				k.out("%s: not started: %v", k.Name, err)
				next = time.Now().Add(pause)
				pause = min(2*pause, lastPause)
				continue
			}
			running, began = p, time.Now()
			k.out("%s: process %d started", k.Name, p.pid)
		}
		k.rotate()
	}
}

func (k *keeper) pidFile() string { return filepath.Join(k.dir, k.Name+".pid") }
func (k *keeper) logFile() string { return filepath.Join(k.logs, k.Name+".log") }

func (k *keeper) ready() bool {
	for _, f := range k.Needs {
		if _, err := os.Stat(f); err != nil {
			return false
		}
	}
	return true
}

func (k *keeper) start() (process, error) {
	argv, env, err := k.Command()
	if err != nil {
		return process{}, err
	}
	log, err := os.OpenFile(k.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return process{}, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return process{}, err
	}
	began, _ := stat(cmd.Process.Pid)
	p := process{cmd.Process.Pid, began}
	go func() { _ = cmd.Wait() }() // how it ended is in its log; here it is only reaped
	return p, os.WriteFile(k.pidFile(), fmt.Appendf(nil, "%d %s\n", p.pid, p.began), 0o644)
}

// stop asks a process to end, and makes it.
func (k *keeper) stop(p process) error {
	if p.pid == 0 || !p.alive() {
		return nil
	}
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil {
		return err
	}
	for deadline := time.Now().Add(stopGrace); p.alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			k.out("%s: process %d does not end: killed", k.Name, p.pid)
			if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
				return err
			}
			deadline = deadline.Add(time.Hour)
		}
	}
	return os.Remove(k.pidFile())
}

// rotate puts a long log aside. The daemon keeps the file open, for appending:
// it is copied and cut.
func (k *keeper) rotate() {
	st, err := os.Stat(k.logFile())
	if err != nil || st.Size() < maxLog {
		return
	}
	if err := copyFile(k.logFile(), k.logFile()+".1"); err != nil {
		k.out("%s: keep the old log: %v", k.Name, err)
	}
	if err := os.Truncate(k.logFile(), 0); err != nil {
		k.out("%s: cut the log: %v", k.Name, err)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
