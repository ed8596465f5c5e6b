package watchcache_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"xebec.dev/apiserver/internal/storage/embedded"
)

// etcdDir in the environment makes this test binary an etcd, so that tests
// can kill one.
const etcdDir = "WATCHCACHE_TEST_ETCD"

func TestMain(m *testing.M) {
	dir := os.Getenv(etcdDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := embedded.Start(dir, embedded.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.Endpoint)
	io.Copy(io.Discard, os.Stdin) // until the parent is gone
	s.Close()
}

// etcdProcess is an etcd in a process of its own.
type etcdProcess struct {
	dir      string
	endpoint string
	cmd      *exec.Cmd
	stdin    io.Closer
}

func startProcess(t testing.TB, dir string) *etcdProcess {
	t.Helper()
	p := &etcdProcess{dir: dir, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), etcdDir+"="+dir)
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("etcd did not start: %v", err)
	}
	p.endpoint = strings.TrimSpace(line)
	return p
}

// kill ends it as a crash does.
func (p *etcdProcess) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.stdin.Close()
}
