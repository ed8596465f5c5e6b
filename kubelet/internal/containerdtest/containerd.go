// Package containerdtest runs a containerd of a test's own, with an image
// whose only program is box. Nothing of it is left behind.
package containerdtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/cgroup"
)

// Runtime is a running containerd.
type Runtime struct {
	runtimeapi.RuntimeServiceClient
	Images runtimeapi.ImageServiceClient
	Socket string
	// Cgroup is a group of the test's own.
	Cgroup string
	Dir    string
	t      testing.TB
}

const config = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "%[1]s/containerd.sock"
[ttrpc]
  address = "%[1]s/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + Image + `"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/nonexistent"
    conf_dir = "%[1]s/cni"
`

// Start starts containerd and waits until it answers.
func Start(t testing.TB) *Runtime {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test runs containers: run it as root")
	}
	for _, name := range []string{"containerd", "ctr", "runc"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("this test runs containers: %v (apt-get install containerd runc)", err)
		}
	}
	dir, err := os.MkdirTemp("", "containerd")
	if err != nil {
		t.Fatal(err)
	}
	r := &Runtime{Dir: dir, Socket: filepath.Join(dir, "containerd.sock"), Cgroup: "/xebec-" + filepath.Base(dir), t: t}
	groups, err := cgroup.New(cgroup.Options{})
	if err == nil {
		err = groups.Make(r.Cgroup)
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, fmt.Appendf(nil, config, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command("containerd", "--config", path, "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix://"+r.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.clean(cmd)
		conn.Close()
	})
	r.RuntimeServiceClient, r.Images = runtimeapi.NewRuntimeServiceClient(conn), runtimeapi.NewImageServiceClient(conn)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := r.Version(t.Context(), &runtimeapi.VersionRequest{})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("containerd does not answer: %v\n%s", err, log.String())
		}
	}
	image := filepath.Join(dir, "image.tar")
	archive(t, image)
	if out, err := exec.Command("ctr", "-a", r.Socket, "-n", "k8s.io", "images", "import", image).CombinedOutput(); err != nil {
		t.Fatalf("import the image: %v\n%s", err, out)
	}
	return r
}

// clean removes sandboxes, the process and what is on the disk.
func (r *Runtime) clean(cmd *exec.Cmd) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, err := r.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		r.t.Error(err)
	}
	for _, s := range list.GetItems() {
		if _, err := r.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			r.t.Error(err)
		}
		if _, err := r.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			r.t.Error(err)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // gone is well
	_ = cmd.Wait()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		r.t.Error(err)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], r.Dir+"/") {
			if err := syscall.Unmount(f[4], syscall.MNT_DETACH); err != nil {
				r.t.Errorf("unmount %s: %v", f[4], err)
			}
		}
	}
	if err := os.RemoveAll(r.Dir); err != nil {
		r.t.Error(err)
	}
	if groups, err := cgroup.New(cgroup.Options{}); err == nil {
		if err := groups.RemovePath(ctx, r.Cgroup); err != nil {
			r.t.Error(err)
		}
	}
	r.removeUnified()
}

// removeUnified removes what runc makes in the second hierarchy of a machine
// that has both versions of cgroups, deepest first.
func (r *Runtime) removeUnified() {
	var dirs []string
	_ = filepath.WalkDir("/sys/fs/cgroup/unified"+r.Cgroup, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // there may be none
	})
	for _, d := range slices.Backward(dirs) {
		if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.t.Error(err)
		}
	}
}

// Sandbox runs a pod's sandbox in the host's network.
func (r *Runtime) Sandbox(name string) (id string, config *runtimeapi.PodSandboxConfig) {
	r.t.Helper()
	config = &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "default", Uid: name},
		LogDirectory: filepath.Join(r.Dir, "logs", name),
		Linux: &runtimeapi.LinuxPodSandboxConfig{CgroupParent: r.Cgroup, SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE},
		}},
	}
	res, err := r.RunPodSandbox(r.t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		r.t.Fatal(err)
	}
	return res.PodSandboxId, config
}

// Container runs box with arguments in a sandbox; change may adapt it.
func (r *Runtime) Container(sandbox string, config *runtimeapi.PodSandboxConfig, name string, change func(*runtimeapi.ContainerConfig), args ...string) string {
	r.t.Helper()
	c := &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name}, Image: &runtimeapi.ImageSpec{Image: Image}, Args: args,
		LogPath: name + "/0.log", Linux: &runtimeapi.LinuxContainerConfig{},
	}
	if err := os.MkdirAll(filepath.Join(config.LogDirectory, name), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if change != nil {
		change(c)
	}
	made, err := r.CreateContainer(r.t.Context(), &runtimeapi.CreateContainerRequest{PodSandboxId: sandbox, Config: c, SandboxConfig: config})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.StartContainer(r.t.Context(), &runtimeapi.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		r.t.Fatal(err)
	}
	return made.ContainerId
}
