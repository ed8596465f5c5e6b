package runtime

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// State of a container.
type State string

// The states.
const (
	Created State = "created"
	Running State = "running"
	Exited  State = "exited"
	Unknown State = "unknown"
)

// Sandbox is what the runtime has of a pod's shell.
type Sandbox struct {
	ID      string
	Attempt uint32
	Created time.Time
	Ready   bool
	// IPs of the pod, the primary one first; empty on the host's network.
	IPs         []string
	HostNetwork bool
	// Handler of the runtime class.
	Handler string
}

// Container is what the runtime has of one run of a container.
type Container struct {
	ID, Name, SandboxID string
	Attempt             uint32
	State               State
	Created             time.Time
	Started             time.Time
	Finished            time.Time
	ExitCode            int32
	Reason, Message     string
	// Image as the pod names it, ImageRef as the runtime does.
	Image, ImageRef string
	Hash            string
	RestartCount    int32
	LogPath         string
	// MessagePath is the termination message's file in the container,
	// MessageFile on the node.
	MessagePath, MessageFile string
	MessagePolicy            corev1.TerminationMessagePolicy
	Grace                    int64 // the pod's, in seconds
	Resources                *runtimeapi.LinuxContainerResources
	StopSignal               *corev1.Signal // nil where the runtime does not say
	User                     *runtimeapi.LinuxContainerUser
	Mounts                   []*runtimeapi.Mount
}

// Pod is what the runtime has of a pod, newest first.
type Pod struct {
	UID        types.UID
	Key        Key
	Sandboxes  []*Sandbox
	Containers []*Container
}

// Sandbox is the newest one.
func (p *Pod) Sandbox() *Sandbox {
	if p == nil || len(p.Sandboxes) == 0 {
		return nil
	}
	return p.Sandboxes[0]
}

// Container is the newest run of a container.
func (p *Pod) Container(name string) *Container {
	if p == nil {
		return nil
	}
	for _, c := range p.Containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Has reports whether a sandbox or container is there in a state; a sandbox
// that is ready runs.
func (p *Pod) Has(id string, state State) bool {
	if s := p.sandbox(id); s != nil {
		return s.Ready == (state == Running)
	}
	c := p.byID(id)
	return c != nil && c.State == state
}

// IPs are the pod's own addresses.
func (p *Pod) IPs() []string {
	if s := p.Sandbox(); s != nil && s.Ready {
		return s.IPs
	}
	return nil
}

// AnyRunning reports whether something of the pod runs.
func (p *Pod) AnyRunning() bool {
	if p == nil {
		return false
	}
	return slices.ContainsFunc(p.Containers, func(c *Container) bool { return c.State == Running || c.State == Unknown }) ||
		slices.ContainsFunc(p.Sandboxes, func(s *Sandbox) bool { return s.Ready })
}

func stateOf(s runtimeapi.ContainerState) State {
	switch s {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return Created
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return Running
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		return Exited
	}
	return Unknown
}

func at(nanos int64) time.Time {
	if nanos <= 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos)
}

// Observe reads what the runtime has of a pod. What old knows already of
// sandboxes that are ready and of containers that have ended is not asked
// again. old may be nil.
func (c *Client) Observe(ctx context.Context, uid types.UID, old *Pod) (*Pod, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	selector := map[string]string{LabelPodUID: string(uid)}
	sandboxes, err := c.Runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: selector}})
	if err != nil {
		return nil, fmt.Errorf("list the sandboxes of pod %s: %w", uid, err)
	}
	containers, err := c.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{LabelSelector: selector}})
	if err != nil {
		return nil, fmt.Errorf("list the containers of pod %s: %w", uid, err)
	}
	p := &Pod{UID: uid}
	for _, s := range sandboxes.Items {
		p.Key = Key{s.Labels[LabelPodNamespace], s.Labels[LabelPodName]}
		if err := c.addSandbox(ctx, p, s, old); err != nil {
			return nil, err
		}
	}
	for _, item := range containers.Containers {
		p.Key = Key{item.Labels[LabelPodNamespace], item.Labels[LabelPodName]}
		if err := c.addContainer(ctx, p, item, old); err != nil {
			return nil, err
		}
	}
	p.sort()
	return p, nil
}

func (p *Pod) sort() {
	slices.SortStableFunc(p.Sandboxes, func(a, b *Sandbox) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.Attempt, a.Attempt))
	})
	slices.SortStableFunc(p.Containers, func(a, b *Container) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.Attempt, a.Attempt))
	})
}

func (c *Client) addSandbox(ctx context.Context, p *Pod, s *runtimeapi.PodSandbox, old *Pod) error {
	ready := s.State == runtimeapi.PodSandboxState_SANDBOX_READY
	if have := old.sandbox(s.Id); have != nil && have.Ready == ready {
		p.Sandboxes = append(p.Sandboxes, have)
		return nil
	}
	res, err := c.Runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: s.Id})
	if IsNotFound(err) {
		return nil // removed meanwhile
	}
	if err != nil {
		return fmt.Errorf("status of sandbox %s: %w", s.Id, err)
	}
	p.Sandboxes = append(p.Sandboxes, sandboxOf(res.Status))
	return nil
}

func (p *Pod) sandbox(id string) *Sandbox {
	if p == nil {
		return nil
	}
	for _, s := range p.Sandboxes {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func sandboxOf(s *runtimeapi.PodSandboxStatus) *Sandbox {
	out := &Sandbox{
		ID: s.Id, Attempt: s.GetMetadata().GetAttempt(), Created: at(s.CreatedAt), Handler: s.RuntimeHandler,
		Ready:       s.State == runtimeapi.PodSandboxState_SANDBOX_READY,
		HostNetwork: s.GetLinux().GetNamespaces().GetOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE,
	}
	if ip := s.GetNetwork().GetIp(); ip != "" && !out.HostNetwork {
		out.IPs = append(out.IPs, ip)
		for _, more := range s.Network.AdditionalIps {
			out.IPs = append(out.IPs, more.Ip)
		}
	}
	return out
}

func (c *Client) addContainer(ctx context.Context, p *Pod, item *runtimeapi.Container, old *Pod) error {
	if have := old.byID(item.Id); have != nil && have.State == Exited && stateOf(item.State) == Exited {
		p.Containers = append(p.Containers, have)
		return nil
	}
	res, err := c.Runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: item.Id})
	if IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("status of container %s: %w", item.Id, err)
	}
	out := containerOf(res.Status)
	out.SandboxID = item.PodSandboxId
	out.finish()
	p.Containers = append(p.Containers, out)
	return nil
}

func (p *Pod) byID(id string) *Container {
	if p == nil {
		return nil
	}
	for _, c := range p.Containers {
		if c.ID == id {
			return c
		}
	}
	return nil
}

func containerOf(s *runtimeapi.ContainerStatus) *Container {
	out := &Container{
		ID: s.Id, Name: s.Labels[LabelContainerName], Attempt: s.GetMetadata().GetAttempt(), State: stateOf(s.State),
		Created: at(s.CreatedAt), Started: at(s.StartedAt), Finished: at(s.FinishedAt),
		ExitCode: s.ExitCode, Reason: s.Reason, Message: s.Message,
		Image: s.GetImage().GetImage(), ImageRef: s.ImageRef, LogPath: s.LogPath,
		Hash: s.Annotations[annotationHash], MessagePath: s.Annotations[annotationMessagePath],
		MessagePolicy: corev1.TerminationMessagePolicy(s.Annotations[annotationMessagePolicy]),
		RestartCount:  int32(number(s.Annotations[annotationRestartCount], int64(s.GetMetadata().GetAttempt()))),
		Grace:         number(s.Annotations[annotationGrace], 0),
		Resources:     s.GetResources().GetLinux(), User: s.GetUser().GetLinux(), Mounts: s.Mounts,
	}
	out.StopSignal = signalOf(s.StopSignal)
	if s.GetImage().GetUserSpecifiedImage() != "" {
		out.Image = s.Image.UserSpecifiedImage
	}
	for _, m := range s.Mounts {
		if out.MessagePath != "" && m.ContainerPath == out.MessagePath {
			out.MessageFile = m.HostPath
		}
	}
	return out
}

func number(s string, otherwise int64) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// Summary is one entry of a listing: enough to see that something changed.
type Summary struct {
	UID       types.UID
	Key       Key
	Container string // empty for sandboxes
	State     State
}

// List sums up everything that belongs to pods, by id.
func (c *Client) List(ctx context.Context) (map[string]Summary, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	sandboxes, err := c.Runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	containers, err := c.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	out := make(map[string]Summary, len(sandboxes.Items)+len(containers.Containers))
	for _, s := range sandboxes.Items {
		if uid := uidOf(s.Labels); uid != "" {
			state := Exited
			if s.State == runtimeapi.PodSandboxState_SANDBOX_READY {
				state = Running
			}
			out[s.Id] = Summary{UID: uid, Key: Key{s.Labels[LabelPodNamespace], s.Labels[LabelPodName]}, State: state}
		}
	}
	for _, k := range containers.Containers {
		if uid := uidOf(k.Labels); uid != "" {
			out[k.Id] = Summary{UID: uid, Key: Key{k.Labels[LabelPodNamespace], k.Labels[LabelPodName]}, Container: k.Labels[LabelContainerName], State: stateOf(k.State)}
		}
	}
	return out, nil
}
