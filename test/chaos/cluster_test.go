package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"xebec.dev/test/apiservertest"
	"xebec.dev/test/chaos/history"
)

// etcd is an etcd in a process of its own.
type etcd struct {
	host string // host:port
	args []string
	cmd  *exec.Cmd
	log  string
}

// startEtcd runs one member by itself until the test ends.
func startEtcd(t testing.TB, more ...string) *etcd {
	t.Helper()
	return startMembers(t, 1, more...)[0]
}

// startMembers runs a cluster.
func startMembers(t testing.TB, n int, more ...string) []*etcd {
	t.Helper()
	peers := make([]string, n)
	for i := range peers {
		peers[i] = fmt.Sprintf("m%d=http://127.0.0.1:%d", i, apiservertest.FreePort(t))
	}
	members := make([]*etcd, n)
	for i := range members {
		name, peer, _ := strings.Cut(peers[i], "=")
		dir := t.TempDir()
		e := &etcd{host: fmt.Sprintf("127.0.0.1:%d", apiservertest.FreePort(t)), log: filepath.Join(dir, "log")}
		// A killed process loses nothing that it wrote, synced or not.
		e.args = []string{
			"--name=" + name, "--data-dir=" + filepath.Join(dir, "data"), "--unsafe-no-fsync", "--log-outputs=" + e.log,
			"--listen-client-urls=http://" + e.host, "--advertise-client-urls=http://" + e.host,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=" + strings.Join(peers, ","), "--initial-cluster-token=" + peers[0], "--log-level=error",
		}
		e.args = append(e.args, more...)
		e.start(t)
		t.Cleanup(e.kill)
		members[i] = e
	}
	for _, e := range members {
		e.ready(t)
	}
	return members
}

func (e *etcd) start(t testing.TB) {
	t.Helper()
	e.cmd = exec.Command(apiservertest.Binary("etcd"), e.args...)
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		t.Fatalf("start etcd (make etcd makes it): %v", err)
	}
}

func (e *etcd) ready(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); e.call(t.Context(), "kv/range", map[string]any{"key": "YQ=="}, nil) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(e.log)
			t.Fatalf("etcd was not ready in time\n%s", log)
		}
	}
}

// kill ends it as a crash does.
func (e *etcd) kill() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Kill() // it may have ended
	_ = e.cmd.Wait()         // killed
	e.cmd = nil
}

// call uses etcd's JSON form of its API.
func (e *etcd) call(ctx context.Context, method string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+e.host+"/v3/"+method, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd %s: %s", method, resp.Status)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// revision is etcd's newest.
func (e *etcd) revision(t testing.TB) int64 {
	t.Helper()
	var out struct {
		Header struct{ Revision string }
	}
	if err := e.call(t.Context(), "kv/range", map[string]any{"key": "YQ=="}, &out); err != nil {
		t.Fatal(err)
	}
	return revisionOf(out.Header.Revision)
}

// compact forgets all history before now.
func (e *etcd) compact(t testing.TB) int64 {
	t.Helper()
	revision := e.revision(t)
	if err := e.call(t.Context(), "kv/compaction", map[string]any{"revision": strconv.FormatInt(revision, 10), "physical": true}, nil); err != nil {
		t.Fatal(err)
	}
	return revision
}

// leads reports whether the member is the leader.
func (e *etcd) leads(t testing.TB) bool {
	t.Helper()
	var out struct {
		Leader string
		Header struct {
			MemberID string `json:"member_id"`
		}
	}
	if err := e.call(t.Context(), "maintenance/status", map[string]any{}, &out); err != nil {
		t.Fatal(err)
	}
	return out.Leader == out.Header.MemberID
}

// over runs a server on an etcd.
func over(t testing.TB, url string, args ...string) *apiservertest.Server {
	t.Helper()
	return apiservertest.Start(t, append([]string{"--etcd-servers=" + url}, args...)...)
}

// isReady asks /readyz.
func isReady(t testing.TB, c *http.Client, s *apiservertest.Server) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(q)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// eventually waits for a condition.
func eventually(t testing.TB, within time.Duration, what string, f func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !f() {
		if time.Since(began) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// sample is what a server's process holds now.
func sample(t testing.TB, s *apiservertest.Server, c *http.Client) history.Sample {
	t.Helper()
	out := history.Sample{}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, err = fmt.Sscan(rest, &out.RSS)
			out.RSS <<= 10
		}
	}
	dir := fmt.Sprintf("/proc/%d/fd", s.PID())
	files, dirErr := os.ReadDir(dir)
	for _, f := range files {
		if to, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			out.Sockets++
		}
	}
	resp, getErr := c.Get(s.URL + "/metrics")
	if err != nil || dirErr != nil || getErr != nil {
		t.Fatal(err, dirErr, getErr)
	}
	defer resp.Body.Close()
	out.Files = len(files)
	out.Goroutines = metric(t, resp, "go_goroutines ")
	return out
}
