package apiservertest

import (
	"fmt"
	"net/http"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// StartEtcd runs bin/etcd alone, for servers with --etcd-servers, and returns
// its URL; it is killed when the test ends.
func StartEtcd(t testing.TB) string {
	t.Helper()
	client, peer := FreePort(t), FreePort(t)
	url := fmt.Sprintf("http://127.0.0.1:%d", client)
	log := &lockedBuffer{}
	cmd := exec.Command(Binary("etcd"), "--data-dir="+t.TempDir(), "--listen-client-urls="+url, "--advertise-client-urls="+url,
		fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:%d", peer), "--unsafe-no-fsync")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start etcd (make etcd makes it): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(url + "/health"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return url
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("etcd was not healthy after a minute\n%s", log)
		}
	}
}
