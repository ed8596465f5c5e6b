package runtime

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// slack is how much longer a call may take than what it waits for.
const slack = 10 * time.Second

// sandboxTime bounds the making of a sandbox, which waits for the network.
const sandboxTime = 4 * time.Minute

// RunSandbox makes a sandbox and gives what the runtime then has.
func (c *Client) RunSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig, handler string) (*Sandbox, error) {
	ctx, cancel := context.WithTimeout(ctx, sandboxTime)
	defer cancel()
	res, err := c.Runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err != nil {
		return nil, err
	}
	s, err := c.Runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: res.PodSandboxId})
	if err != nil {
		return nil, fmt.Errorf("status of sandbox %s: %w", res.PodSandboxId, err)
	}
	return sandboxOf(s.Status), nil
}

// StopSandbox ends a sandbox and what runs in it.
func (c *Client) StopSandbox(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, sandboxTime)
	defer cancel()
	_, err := c.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id})
	return unlessGone(err)
}

// RemoveSandbox deletes a sandbox.
func (c *Client) RemoveSandbox(ctx context.Context, id string) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	_, err := c.Runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id})
	return unlessGone(err)
}

func unlessGone(err error) error {
	if IsNotFound(err) {
		return nil
	}
	return err
}

// CreateContainer makes a container and gives its id.
func (c *Client) CreateContainer(ctx context.Context, sandbox string, config *runtimeapi.ContainerConfig, shell *runtimeapi.PodSandboxConfig) (string, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	res, err := c.Runtime.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: sandbox, Config: config, SandboxConfig: shell})
	return res.GetContainerId(), err
}

// StartContainer starts what was made.
func (c *Client) StartContainer(ctx context.Context, id string) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	_, err := c.Runtime.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id})
	return err
}

// StopContainer asks a container to end, and ends it after a time.
func (c *Client) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+c.timeout)
	defer cancel()
	seconds := int64((grace + time.Second - 1) / time.Second)
	_, err := c.Runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: seconds})
	return unlessGone(err)
}

// RemoveContainer deletes a container.
func (c *Client) RemoveContainer(ctx context.Context, id string) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	_, err := c.Runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id})
	return unlessGone(err)
}

// UpdateContainer changes a container's resources.
func (c *Client) UpdateContainer(ctx context.Context, id string, r *runtimeapi.LinuxContainerResources) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	_, err := c.Runtime.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{ContainerId: id, Linux: r})
	return err
}

// Container reads one container's state.
func (c *Client) Container(ctx context.Context, id string) (*Container, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	res, err := c.Runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return nil, err
	}
	out := containerOf(res.Status)
	out.finish()
	return out, nil
}

// Exec runs a command to its end. One that takes longer than timeout ends
// with context.DeadlineExceeded; 0 is no bound.
func (c *Client) Exec(ctx context.Context, id string, command []string, timeout time.Duration) (string, int32, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout+slack)
		defer cancel()
	}
	seconds := int64((timeout + time.Second - 1) / time.Second)
	res, err := c.Runtime.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: command, Timeout: seconds})
	if status.Code(err) == codes.DeadlineExceeded {
		return "", 0, fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	if err != nil {
		return "", 0, err
	}
	return string(res.Stdout) + string(res.Stderr), res.ExitCode, nil
}
