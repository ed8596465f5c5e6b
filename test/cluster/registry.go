package cluster

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// StartRegistry runs Debian's docker-registry where nodes reach it, with the
// images of bin/ in it, and has them pull from it: images are then called
// ADDRESS/NAME:TAG. It gives ADDRESS.
func (c *Cluster) StartRegistry(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Fatalf("%v (Debian's package docker-registry has it)", err)
	}
	gateway, err := c.Gateway()
	if err != nil {
		t.Fatal(err)
	}
	address, dir := gateway+":5000", t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", dir, address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	base := "http://" + address
	Eventually(t, "the registry answers", func() error {
		client := &http.Client{Timeout: time.Second}
		resp, err := client.Get(base + "/v2/")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	out, err := exec.Command(filepath.Join(c.Bin, "xebec-images"), "--bin="+c.Bin, "--out="+filepath.Join(dir, "images"), "--push="+base, "--only=web,busybox,pause").CombinedOutput()
	if err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	if err := c.Registry(address, base); err != nil {
		t.Fatal(err)
	}
	return address
}
