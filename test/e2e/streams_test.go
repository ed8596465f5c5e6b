package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// longCall is a kubectl that streams until its connection breaks.
type longCall struct {
	args  []string
	cmd   *exec.Cmd
	ended chan error // with nil, or how it failed

	mu   sync.Mutex
	said strings.Builder // guarded by mu
}

// startCall starts a kubectl whose input stays open.
func startCall(ctx context.Context, u user, args ...string) *longCall {
	u.t.Helper()
	h := &longCall{args: args, cmd: u.command(ctx, args...), ended: make(chan error, 1)}
	in, _ := io.Pipe() // says nothing, and does not end
	h.cmd.Stdin = in
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // what it was cut off in is no line
			}
			h.mu.Lock()
			h.said.WriteString(line)
			h.mu.Unlock()
		}
		_ = in.Close()
		err := h.cmd.Wait() // tells of its input, too, which never said anything
		if h.cmd.ProcessState.Success() {
			err = nil
		}
		h.ended <- err
	}()
	return h
}

func (h *longCall) words() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.String()
}

// says waits until it has said something of a form.
func (h *longCall) says(u user, form string) []string {
	u.t.Helper()
	of := regexp.MustCompile(form)
	var found []string
	u.until(fmt.Sprintf("kubectl %s says %s", strings.Join(h.args, " "), form), func() error {
		if found = of.FindStringSubmatch(h.words()); found == nil {
			return fmt.Errorf("it says %q", h.words())
		}
		return nil
	})
	return found
}

// holding is what a program has, by its metrics.
type holding struct{ goroutines, files int }

func (u user) holding(path string) (h holding, err error) {
	text, err := u.output("get", "--raw", path)
	if err != nil {
		return h, err
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case name == "go_goroutines":
			h.goroutines = int(n)
		case name == "process_open_fds":
			h.files = int(n)
		}
	}
	if h.goroutines == 0 || h.files == 0 {
		return h, fmt.Errorf("%s has no go_goroutines or process_open_fds", path)
	}
	return h, nil
}

// atRest is what a program has once that no longer changes: its clients have
// come back, if it was away.
func (u user) atRest(path string) (now holding) {
	u.t.Helper()
	u.until(path+" is at rest", func() error {
		before, err := u.holding(path)
		if err != nil {
			return err
		}
		time.Sleep(3 * time.Second)
		if now, err = u.holding(path); err == nil && max(now.goroutines-before.goroutines, now.files-before.files) > 1 {
			err = fmt.Errorf("%+v, and then %+v", before, now)
		}
		return err
	})
	return now
}

// TestStreamsBreak is F39: when a server in the middle of a stream is killed, who
// follows a log, runs a command or forwards a port is told so at once instead of
// waiting for ever, has got every line up to there, and the other server keeps
// nothing of it. What was running for the stream ends too.
func TestStreamsBreak(t *testing.T) {
	u := newUser(t, "breaks")
	first, second := running.Members()[0], running.Members()[1]
	u.apply(`
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  nodeName: ` + second.Name + `
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: ` + busybox + `
    command: [sh, -c, 'i=0; while :; do for k in 1 2 3 4 5 6 7 8 9 10; do echo $i; i=$((i+1)); done; sleep 1; done']
  - {name: web, image: ` + web + `}
`)
	u.ready("pod/talker")
	for _, c := range []struct {
		victim daemon
		other  string // path of the metrics of the server that stays
	}{
		{daemon{"kubelet", second}, "/metrics"},
		{daemon{"kube-apiserver", first}, "/api/v1/nodes/" + second.Name + "/proxy/metrics"},
	} {
		t.Run(c.victim.name, func(t *testing.T) {
			u := u
			u.t = t
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			before := u.atRest(c.other)
			const copies = 4
			var logs, all []*longCall
			var forward *longCall
			for range copies {
				log := startCall(ctx, u, "logs", "-f", "talker", "-c", "c")
				run := startCall(ctx, u, "exec", "-i", "talker", "-c", "c", "--", "sh", "-c", "echo began; exec cat -u")
				forward = startCall(ctx, u, "port-forward", "pod/talker", ":8080")
				log.says(u, "(?m)^9$")
				run.says(u, "began")
				logs, all = append(logs, log), append(all, log, run, forward)
			}
			port := forward.says(u, `Forwarding from 127.0.0.1:(\d+)`)[1]
			conn, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: web\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") {
				t.Fatalf("through the forwarded port: %q, %v", line, err)
			}
			c.victim.kill(t)
			for _, h := range all {
				select {
				case err := <-h.ended:
					if ctx.Err() != nil || err == nil && !slices.Contains(logs, h) {
						t.Errorf("kubectl %s ended with %v, %v", strings.Join(h.args, " "), err, ctx.Err())
					}
				case <-ctx.Done():
					t.Errorf("kubectl %s waits for ever", strings.Join(h.args, " "))
				}
			}
			for _, log := range logs {
				for i, line := range strings.Split(strings.TrimSpace(log.words()), "\n") {
					if line != strconv.Itoa(i) {
						t.Errorf("line %d of the log is %q", i, line)
						break
					}
				}
			}
			u.until("the server answers", func() error { return u.try("get", "pod", "talker") })
			u.until("the command has ended", func() error {
				out, err := u.output("exec", "talker", "-c", "c", "--", "ps")
				if err == nil && strings.Contains(out, "cat -u") {
					err = fmt.Errorf("it runs: %s", out)
				}
				return err
			})
			u.until("nothing of the streams is left", func() error {
				const spare = 2 * copies // what else comes and goes
				after, err := u.holding(c.other)
				if err == nil && (after.goroutines > before.goroutines+spare || after.files > before.files+spare) {
					err = fmt.Errorf("%+v before, %+v now", before, after)
				}
				return err
			})
		})
	}
}
