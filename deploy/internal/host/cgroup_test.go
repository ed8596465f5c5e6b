package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// A cgroup goes with all below it, but for those that processes are in.
func TestEmptyCgroups(t *testing.T) {
	path := fmt.Sprintf("/xebec-test-%d", os.Getpid())
	if err := MakeCgroup(path); err != nil {
		t.Skipf("cgroups cannot be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := RemoveCgroup(path); err != nil {
			t.Error(err)
		}
	})
	all := Cgroups(path)
	if len(all) == 0 {
		t.Skip("this machine shows no cgroups")
	}
	for _, dir := range all {
		if err := os.MkdirAll(filepath.Join(dir, "besteffort/pod1"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "burstable"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	used := filepath.Join(all[0], "besteffort/pod1")
	if err := os.WriteFile(filepath.Join(used, "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0o600); err != nil {
		t.Skipf("processes cannot be moved: %v", err)
	}
	if in := CgroupProcesses(path); len(in) != 1 || in[0] != cmd.Process.Pid {
		t.Errorf("processes %v are in it; expected %d", in, cmd.Process.Pid)
	}
	RemoveEmptyCgroup(path)
	if left := Cgroups(path); len(left) != 1 || left[0] != all[0] {
		t.Errorf("of %v these are left: %v; expected the first", all, left)
	}
	if _, err := os.Stat(used); err != nil || Cgroups(path+"/burstable") != nil {
		t.Errorf("%s has a process: %v; others: %v", used, err, Cgroups(path+"/burstable"))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	RemoveEmptyCgroup(path)
	if left := Cgroups(path); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestKubeletsByTheirPrograms(t *testing.T) {
	for arg0, want := range map[string]bool{
		"kubelet": true, "/usr/bin/kubelet": true, "/usr/local/bin/k3s": true, "/usr/local/bin/k3s server": true, "k3s-agent": true,
		"/snap/microk8s/1/kubelite": true, "/usr/local/bin/rke2 server": true, "/usr/local/bin/k0s": true, "/hyperkube": true,
		"": false, "vi kubelet": false, "/kubelet/bin/containerd": false, "kube-proxy": false,
	} {
		if isKubelet(arg0) != want {
			t.Errorf("%q: expected %v", arg0, want)
		}
	}
	// One that runs, under another's name.
	cmd := &exec.Cmd{Path: "/bin/sleep", Args: []string{"/usr/local/bin/k3s server", "3600"}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if pids, err := Kubelets(); err != nil || !slices.Contains(pids, cmd.Process.Pid) {
		t.Errorf("%v: %v; expected %d among them", pids, err, cmd.Process.Pid)
	}
}

func TestKubeletsWithCgroupsOfTheirOwn(t *testing.T) {
	for conf, want := range map[string]bool{"cgroupRoot: /xebec-n1\n": true, "cgroupRoot: /\n": false, "kind: KubeletConfiguration\n": false, "cgroupRoot: [": false} {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ownCgroups([]string{"/usr/bin/kubelet", "--v=2", "--config=" + file}); got != want {
			t.Errorf("%q: %v", conf, got)
		}
	}
	if ownCgroups([]string{"kubelet"}) || ownCgroups([]string{"kubelet", "--config=/none/config.yaml"}) {
		t.Error("a kubelet that tells of no cgroups has its own")
	}
}
