package apiservertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
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

// CompactEtcd makes etcd forget all changes before its present revision, by
// its JSON gateway.
func CompactEtcd(t testing.TB, url string) {
	t.Helper()
	var now struct {
		Header struct{ Revision string }
	}
	// The key "a" need not exist.
	gateway(t, url+"/v3/kv/range", `{"key": "YQ=="}`, &now)
	gateway(t, url+"/v3/kv/compaction", fmt.Sprintf(`{"revision": %q, "physical": true}`, now.Header.Revision), &struct{}{})
}

func gateway(t testing.TB, url, body string, answer any) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("etcd %s: %s, %v", url, resp.Status, err)
	}
}
