package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/test/kubelet/nodetest"
)

// rawStarter makes the calls that a pod start needs, and no others.
type rawStarter struct {
	n    *nodetest.Node
	conn *grpc.ClientConn
	cri  runtimeapi.RuntimeServiceClient
	imgs runtimeapi.ImageServiceClient

	mu        sync.Mutex
	sandboxes map[string]string // guarded by mu; id by name
}

func newRaw(n *nodetest.Node) (*rawStarter, error) {
	cri, conn, err := n.CRI()
	return &rawStarter{n: n, cri: cri, conn: conn, imgs: runtimeapi.NewImageServiceClient(conn), sandboxes: map[string]string{}}, err
}

func (r *rawStarter) close() { _ = r.conn.Close() } // the process ends

func (r *rawStarter) start(ctx context.Context, name string) error {
	dir := filepath.Join(r.n.Dir, "rawlog", name)
	if err := os.MkdirAll(filepath.Join(dir, "main"), 0o755); err != nil {
		return err
	}
	sandbox := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "raw", Uid: name}, Hostname: name, LogDirectory: dir,
		DnsConfig: &runtimeapi.DNSConfig{Servers: []string{"10.96.0.10"}},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent:    r.n.Cgroup() + "/kubepods/besteffort",
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER}},
		},
	}
	res, err := r.cri.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: sandbox})
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.sandboxes[name] = res.PodSandboxId
	r.mu.Unlock()
	if _, err := r.cri.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: res.PodSandboxId}); err != nil {
		return err
	}
	img, err := r.imgs.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: nodetest.Agent}})
	if err != nil {
		return err
	}
	made, err := r.cri.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: res.PodSandboxId, SandboxConfig: sandbox, Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "main"}, Image: &runtimeapi.ImageSpec{Image: img.Image.Id}, Args: []string{"wait"},
		LogPath: "main/0.log", Linux: &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
		}},
	}})
	if err != nil {
		return err
	}
	if _, err := r.cri.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		return err
	}
	_, err = r.cri.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: made.ContainerId})
	return err
}

func (r *rawStarter) remove(ctx context.Context, name string) error {
	r.mu.Lock()
	id := r.sandboxes[name]
	r.mu.Unlock()
	if _, err := r.cri.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return err
	}
	_, err := r.cri.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id})
	return err
}
