package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/test/kubelet/nodetest"
)

// rawStarter makes the calls that a pod start needs, and no others, with the
// configurations that the kubelet gives for such a pod: the runtime's work is
// the same, so that only the kubelet's own is compared.
type rawStarter struct {
	n    *nodetest.Node
	conn *grpc.ClientConn
	cri  runtimeapi.RuntimeServiceClient
	imgs runtimeapi.ImageServiceClient

	sandbox   *runtimeapi.PodSandboxConfig // of the kubelet's
	container *runtimeapi.ContainerConfig

	mu        sync.Mutex
	sandboxes map[string]string // guarded by mu; id by name
}

const model = "model"

// newRaw has the kubelet start one pod and learns from it.
func newRaw(ctx context.Context, n *nodetest.Node, k *kubeletStarter) (*rawStarter, error) {
	cri, conn, err := n.CRI()
	if err != nil {
		return nil, err
	}
	r := &rawStarter{n: n, cri: cri, conn: conn, imgs: runtimeapi.NewImageServiceClient(conn), sandboxes: map[string]string{}}
	if err := k.start(ctx, model); err != nil {
		return nil, err
	}
	if err := r.learn(ctx); err != nil {
		return nil, err
	}
	return r, k.remove(ctx, model)
}

func (r *rawStarter) learn(ctx context.Context) error {
	sandboxes, err := r.cri.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	containers, err := r.cri.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return err
	}
	if len(sandboxes.Items) != 1 || len(containers.Containers) != 1 {
		return fmt.Errorf("the runtime has %d sandboxes and %d containers for one pod", len(sandboxes.Items), len(containers.Containers))
	}
	s, err := r.cri.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: sandboxes.Items[0].Id, Verbose: true})
	if err != nil {
		return err
	}
	c, err := r.cri.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: containers.Containers[0].Id, Verbose: true})
	if err != nil {
		return err
	}
	r.sandbox, r.container = &runtimeapi.PodSandboxConfig{}, &runtimeapi.ContainerConfig{}
	if err := given(s.Info, r.sandbox); err != nil {
		return err
	}
	return given(c.Info, r.container)
}

// given finds the configuration within what containerd tells of a thing.
func given(info map[string]string, into any) error {
	var all struct {
		Config json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal([]byte(info["info"]), &all); err != nil {
		return fmt.Errorf("the runtime's information: %w", err)
	}
	return json.Unmarshal(all.Config, into)
}

func (r *rawStarter) close() { _ = r.conn.Close() } // the process ends

// files makes what the kubelet's own would be for a pod.
func (r *rawStarter) files(name string) (logs, hosts, message string, err error) {
	dir := filepath.Join(r.n.Dir, "raw", name)
	logs, hosts, message = filepath.Join(dir, "log"), filepath.Join(dir, "hosts"), filepath.Join(dir, "message")
	if err := os.MkdirAll(filepath.Join(logs, "main"), 0o755); err != nil {
		return "", "", "", err
	}
	for _, f := range []string{hosts, message} {
		if err := os.WriteFile(f, nil, 0o666); err != nil {
			return "", "", "", err
		}
	}
	return logs, hosts, message, nil
}

// configs are the kubelet's for a pod of this name.
func (r *rawStarter) configs(name string) (*runtimeapi.PodSandboxConfig, *runtimeapi.ContainerConfig, error) {
	logs, hosts, message, err := r.files(name)
	if err != nil {
		return nil, nil, err
	}
	sandbox, container := proto.Clone(r.sandbox).(*runtimeapi.PodSandboxConfig), proto.Clone(r.container).(*runtimeapi.ContainerConfig)
	sandbox.Metadata.Name, sandbox.Metadata.Namespace, sandbox.Metadata.Uid, sandbox.Hostname, sandbox.LogDirectory = name, "raw", name, name, logs
	// Without its labels the kubelet does not take it for a pod of its own;
	// the pod's group is the kubelet's to make.
	sandbox.Labels, container.Labels = nil, nil
	sandbox.Linux.CgroupParent = filepath.Dir(sandbox.Linux.CgroupParent)
	for _, m := range container.Mounts {
		if m.ContainerPath == "/etc/hosts" {
			m.HostPath = hosts
		} else if strings.Contains(m.HostPath, "/containers/") {
			m.HostPath = message
		}
	}
	return sandbox, container, nil
}

func (r *rawStarter) start(ctx context.Context, name string) error {
	sandbox, container, err := r.configs(name)
	if err != nil {
		return err
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
	if _, err := r.imgs.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: nodetest.Agent}}); err != nil {
		return err
	}
	made, err := r.cri.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: res.PodSandboxId, SandboxConfig: sandbox, Config: container})
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
