package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/runtime"
)

// checkpoint has the runtime write what a container is at this moment into an
// archive below the kubelet's directory.
func (k *Kubelet) checkpoint(ctx context.Context, pod *corev1.Pod, name string, timeout time.Duration) (string, error) {
	c := k.workers.Observed(pod.UID).Container(name)
	if c == nil || c.State != runtime.Running {
		return "", fmt.Errorf("container %q does not run", name)
	}
	dir := filepath.Join(k.f.RootDir, "checkpoints")
	const private = 0o700 // it has the container's memory
	if err := os.MkdirAll(dir, private); err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("checkpoint-%s_%s-%s-%s.tar", pod.Name, pod.Namespace, name, time.Now().Format(time.RFC3339)))
	q := &runtimeapi.CheckpointContainerRequest{ContainerId: c.ID, Location: path, Timeout: int64(timeout / time.Second)}
	if _, err := k.runtime.Runtime.CheckpointContainer(ctx, q); err != nil {
		return "", err
	}
	return path, nil
}
