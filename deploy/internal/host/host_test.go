package host

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"xebec.dev/deploy/internal/golden"
	"xebec.dev/deploy/internal/layout"
)

func TestContainerdConfigs(t *testing.T) {
	for name, c := range map[string]Containerd{
		"containerd-2.toml": {Major: 2, Root: "/", Systemd: true, Pause: "xebec.dev/pause:3.10.1", Bin: "/usr/local/bin", CNIBin: []string{"/opt/cni/bin"}},
		"containerd-1.toml": {Major: 1, Root: "/run/n1", RestrictOOM: true, Pause: "p", Bin: "/bin", CNIBin: []string{"/run/n1/opt/cni/bin"}},
		"usual.toml":        {Major: 2, Root: "/", Usual: true, Systemd: true, Pause: "xebec.dev/pause:3.10.1", Bin: "/usr/local/bin", CNIBin: []string{"/opt/cni/bin"}},
		"ephemeral.toml":    {Major: 2, Root: "/run/n1", RestrictOOM: true, NoSync: true, Pause: "p", Bin: "/bin", CNIBin: []string{"/a", "/b"}},
	} {
		raw, err := c.Config()
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name, raw)
	}
}

// TestContainerdTakesItsConfiguration: the program itself reads it and means
// the same by it.
func TestContainerdTakesItsConfiguration(t *testing.T) {
	program := "../../../bin/containerd"
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v (make tools makes it)", err)
	}
	c := Containerd{Major: 2, Root: layout.Root(t.TempDir()), RestrictOOM: true, NoSync: true, Pause: "xebec.dev/pause:test", Bin: "/some/bin", CNIBin: []string{"/some/cni"}}
	raw, err := c.Config()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "--config", file, "config", "dump").Output()
	if err != nil {
		t.Fatalf("containerd config dump: %v", err)
	}
	for _, want := range []string{
		"sandbox = 'xebec.dev/pause:test'", "restrict_oom_score_adj = true", "bin_dirs = ['/some/cni']", "BinaryName = '/some/bin/runc'",
		"address = '" + c.Root.Path(Socket) + "'", "socket_dir = '" + c.Root.Path(State) + "/s'", "no_sync = true", "use_internal_loopback = true", "netns_mounts_under_state_dir = true",
		"conf_template = '" + c.Root.Path(NetworkTemplate) + "'", "config_path = '" + c.Root.Path(Registries) + "'",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("containerd does not understand %s", want)
		}
	}
}

// TestNetworkTemplates are filled in by the runtime with these values.
func TestNetworkTemplates(t *testing.T) {
	values := struct{ PodCIDRRanges, Routes []string }{[]string{"10.244.1.0/24", "fd00:1::/64"}, []string{"0.0.0.0/0", "::/0"}}
	for name, text := range map[string][]byte{"xebec.conflist": Network("/run/n1"), "reference.conflist": ReferenceNetwork("/run/n1")} {
		tmpl, err := template.New(name).Parse(string(text))
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := tmpl.Execute(&b, values); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name, []byte(b.String()))
	}
}

func TestRootMayNotBeLong(t *testing.T) {
	if err := CheckRoot("/run/xebec-test/n1"); err != nil {
		t.Error(err)
	}
	if err := CheckRoot(layout.Root("/tmp/" + strings.Repeat("x", 60))); err == nil {
		t.Error("a root below which no socket has an address was taken")
	}
}

// TestRecordUndoesOnlyWhatWasDone, also when another process undoes it.
func TestRecordUndoesOnlyWhatWasDone(t *testing.T) {
	root := layout.Root(t.TempDir())
	theirs := root.Path("/etc/kept/file")
	if err := errors.Join(os.MkdirAll(filepath.Dir(theirs), 0o755), os.WriteFile(theirs, []byte("theirs"), 0o644)); err != nil {
		t.Fatal(err)
	}
	r, err := ReadRecord(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		r.MkdirAll(root.Path(Data), 0o755),
		r.WriteFile(root.Path("/etc/kept/ours"), []byte("a"), 0o644),
		r.WriteFile(root.Path("/etc/made/deep/ours"), []byte("a"), 0o644),
		r.WriteFile(root.Path("/etc/made/deep/ours"), []byte("b"), 0o644),
		r.Expect(root.Path("/etc/made/never")),
		r.MkdirAll(root.Path("/etc/shared"), 0o755),
		os.WriteFile(root.Path("/etc/shared/theirs"), nil, 0o644),
	); err != nil {
		t.Fatal(err)
	}
	if again, err := ReadRecord(root); err != nil || !again.Made(root.Path("/etc/made/deep/ours")) || again.Made(theirs) || !again.MadeDir(root.Path("/etc/made/deep/x")) || again.MadeDir(root.Path("/etc/kept")) {
		t.Fatalf("read again: %+v %v", again, err)
	} else if err := again.Restore(root.Path("/etc/kept/ours")); err != nil || !again.Kept() || !again.Made(root.Path("/etc/kept/ours")) {
		t.Fatalf("restored: %v; the record: %+v", err, again)
	} else if _, err := os.Stat(root.Path("/etc/made")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("restored, and /etc/made is there: %v", err)
	} else if _, err := os.Stat(root.Path("/etc/kept/ours")); err != nil {
		t.Error(err)
	} else if err := again.Undo(); err != nil {
		t.Fatal(err)
	}
	for path, there := range map[string]bool{"/etc/kept/file": true, "/etc/kept/ours": false, "/etc/made": false, "/etc/shared/theirs": true, Data + "/node.json": false} {
		if _, err := os.Stat(root.Path(path)); errors.Is(err, fs.ErrNotExist) == there {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestRemoveTreeStaysOnThisSideOfMounts: what is mounted below a directory is
// unmounted, not emptied.
func TestRemoveTreeStaysOnThisSideOfMounts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("mounting needs root")
	}
	dir, other := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "tree", "a b")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one mount over another
		if out, err := exec.Command("mount", "--bind", other, at).CombinedOutput(); err != nil {
			t.Fatalf("mount: %v %s", err, out)
		}
	}
	if m, err := Mounts(filepath.Join(dir, "tree")); err != nil || len(m) != 2 || m[0] != at {
		t.Errorf("mounts %q: %v", m, err)
	}
	if err := RemoveTree(filepath.Join(dir, "tree")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(other, "precious")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tree")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the tree is there: %v", err)
	}
}

func TestCgroups(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("cgroups need root")
	}
	path := "/xebec-host-test"
	t.Cleanup(func() { _ = RemoveCgroup(path) })
	if err := MakeCgroup(path); err != nil {
		t.Fatal(err)
	}
	dirs := Cgroups(path)
	if len(dirs) == 0 {
		t.Fatal("no cgroup was made")
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(dirs[0], "below")
	if err := errors.Join(os.MkdirAll(below, 0o755), fill(below), os.WriteFile(filepath.Join(below, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := RemoveCgroup(path); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("what ran in the cgroup was not ended")
	}
	if left := Cgroups(path); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// fill gives a cpuset what its parent has, without which nothing enters it.
func fill(dir string) error {
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		raw, err := os.ReadFile(filepath.Join(filepath.Dir(dir), f))
		if err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, f), raw, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// TestOnlyTheNodesOwnIsLeft: what others made meanwhile is no residue.
func TestOnlyTheNodesOwnIsLeft(t *testing.T) {
	before := &Snapshot{Links: []string{"eth0", "flannel.1"}, Tables: []string{"filter"}}
	now := &Snapshot{Links: []string{"eth0", "flannel.1", "cni0", "docker0", "veth1234"}, Tables: []string{"filter", "docker", "kube-proxy"}}
	if got := strings.Join(before.left(now), "; "); got != "link cni0; table of nftables kube-proxy" {
		t.Errorf("left: %s", got)
	}
}

// TestPodLinks: those of other clusters, whose names may begin alike, are not.
func TestPodLinks(t *testing.T) {
	for name, want := range map[string]bool{
		"cni0": true, "xebec0": true, "xb1a2b3c4d": true, "kube-ipvs0": true, "flannel.1": true, "flannel-v6.1": true, "xebec-brook": true,
		"xebec-br": false, "xb2-br": false, "xb2-n1": false, "cni1-n252": false, "xebec-n1": false, "eth0": false, "docker0": false, "vethnone": false,
	} {
		if PodLink(name) != want {
			t.Errorf("%s: expected %v", name, want)
		}
	}
}

// TestTracesOfPods: only those of the node go.
func TestTracesOfPods(t *testing.T) {
	dir := t.TempDir()
	for name, to := range map[string]string{"ours": "/run/n1/var/log/pods/a/b/0.log", "others": "/run/n11/var/log/pods/a/b/0.log"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"net-1": `{"netns":"/run/n1/run/xebec/containerd/netns/cni-1"}`, "net-2": `{"netns":"/run/netns/cni-2"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := layout.Root("/run/n1")
	if err := errors.Join(removeLogLinks(dir, root.Path(layout.PodLogs)), removeResults(dir, root.Path(State)), removeResults(dir+"/missing", "/x")); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(dir + "/*")
	if err != nil || len(left) != 2 || filepath.Base(left[0]) != "net-2" || filepath.Base(left[1]) != "others" {
		t.Errorf("left: %v %v", left, err)
	}
}
