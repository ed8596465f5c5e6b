// Again runs tests, and runs once more, by name, what failed: a machine that
// does much else is no reason to turn a change away, but what fails twice is,
// and so is what the race detector finds. What passed only then is told loudly.
// For tests that run containers it takes away what runs that were killed have
// left, before and after.
//
//	go run ./again [-limit DURATION] [-sweep] [FLAG OF GO TEST…] PACKAGE…
//
// It ends with 0 when all passed, with 1 when something failed twice, or once
// when there was no time to see it again, or when nothing passed; and with 3 when
// the time was up before anything had failed.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"xebec.dev/test/cluster"
	"xebec.dev/test/kubelet/nodetest"
)

const (
	passed  = 0
	failed  = 1
	misused = 2
	late    = 3
)

func main() {
	o, args, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "again:", err)
		os.Exit(misused)
	}
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(interrupted, o.limit)
	defer cancel()
	r := &runner{out: os.Stdout, clean: func(string) {}}
	if o.sweep {
		r.clean = func(whose string) {
			if err := sweep(); err != nil {
				r.tell(fmt.Sprintf("again: what %s has left: %v\n", whose, err))
			}
		}
	}
	r.clean("an earlier run")
	code := r.run(ctx, args)
	r.clean("this run")
	os.Exit(code)
}

type options struct {
	limit time.Duration
	sweep bool // clusters and nodes that ended processes have left
}

// parse takes the program's own flags, which come first, from what go test is given.
func parse(args []string) (options, []string, error) {
	o := options{limit: time.Hour}
	for len(args) > 0 {
		switch {
		case args[0] == "-limit" && len(args) > 1:
			var err error
			if o.limit, err = time.ParseDuration(args[1]); err != nil {
				return o, nil, fmt.Errorf("-limit: %w", err)
			}
			args = args[2:]
		case args[0] == "-sweep":
			o.sweep = true
			args = args[1:]
		default:
			return o, args, nil
		}
	}
	return o, nil, errors.New("no packages; as in: again -limit 12m -short ./kubelet/... ./e2e")
}

// sweep takes away the clusters and nodes of processes that have ended.
func sweep() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return errors.Join(cluster.Sweep(ctx), nodetest.Sweep())
}

// split parts go test's flags from packages.
func split(args []string) (flags, packages []string) {
	for i, a := range args {
		if !strings.HasPrefix(a, "-") {
			return args[:i], args[i:]
		}
	}
	return args, nil
}

// runner runs tests and tells of them.
type runner struct {
	out   io.Writer
	began func(key)    // hears of each test that begins; may be nil
	clean func(string) // takes away what a run has left
}

func (r *runner) tell(text string) { fmt.Fprint(r.out, text) }

func (r *runner) run(ctx context.Context, args []string) int {
	flags, packages := split(args)
	first, err := r.test(ctx, append(flags[:len(flags):len(flags)], packages...))
	if err != nil {
		r.tell(fmt.Sprintf("again: %v\n", err))
		return failed
	}
	const tellSlowest = 12
	if slow := first.slowest(tellSlowest); slow != "" {
		r.tell(fmt.Sprintf("again: passed: %d; seconds of the slowest: %s\n", len(first.took), slow))
	} else {
		r.tell(fmt.Sprintf("again: passed: %d\n", len(first.took)))
	}
	unfinished := first.unfinished()
	if ctx.Err() != nil {
		r.tell(fmt.Sprintf("again: THE TIME WAS UP in the middle of: %s\n", strings.Join(unfinished, ", ")))
	}
	switch {
	case len(first.builds) > 0:
		r.tell(fmt.Sprintf("again: FAILED to build: %s\n", strings.Join(first.builds, ", ")))
		return failed
	case first.raced:
		r.tell("again: FAILED: a data race is there, whether it is seen again or not\n")
		return failed
	case first.good() && ctx.Err() != nil && len(first.took) == 0:
		r.tell("again: FAILED: nothing passed in all that time\n")
		return failed
	case first.good() && ctx.Err() != nil:
		return late
	case first.good():
		return passed
	}
	return r.second(ctx, &first.result, flags)
}

// second runs again what failed.
func (r *runner) second(ctx context.Context, first *result, flags []string) int {
	code := passed
	for _, args := range first.again() {
		what := strings.Join(args, " ")
		if ctx.Err() != nil {
			r.tell(fmt.Sprintf("again: FAILED ONCE, and there was no time to see it again: %s\n", what))
			code = failed
			continue
		}
		r.clean("the first run")
		r.tell(fmt.Sprintf("again: FAILED, once more: %s\n", what))
		now, err := r.test(ctx, append(flags[:len(flags):len(flags)], args...))
		switch {
		case err != nil:
			r.tell(fmt.Sprintf("again: %v\n", err))
			code = failed
		case ctx.Err() != nil && now.good():
			r.tell(fmt.Sprintf("again: THE TIME WAS UP in the middle of the second run of %s\n", what))
			code = failed
		case !now.good():
			r.tell(fmt.Sprintf("again: FAILED TWICE: %s\n", what))
			code = failed
		default:
			r.tell(fmt.Sprintf("again: FLAKY, failed and then passed: %s: find out why\n", what))
		}
	}
	return code
}

// test runs go test until it ends, or the time is up: then all that it has
// started is ended.
func (r *runner) test(ctx context.Context, args []string) (*collector, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stop()
	c := newCollector(r.tell)
	c.began = r.began
	// A line is as long as a test's longest line of output.
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			c.line([]byte(strings.TrimRight(string(line), "\n")))
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	ended(cmd.Process.Pid)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	if err != nil && ctx.Err() == nil && c.good() {
		return nil, fmt.Errorf("go test: %w, and no test says why", err)
	}
	return c, nil
}

// ended waits for the processes of a group that was killed: until they are gone
// they hold the locks of what they have left.
func ended(group int) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if syscall.Kill(-group, 0) != nil {
			return
		}
	}
}
