package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/env"
	"xebec.dev/kubelet/internal/image"
	"xebec.dev/kubelet/internal/lifecycle"
	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/probe"
	"xebec.dev/kubelet/internal/runtime"
)

// box is a container runtime of one process; images of registries that are
// away can't be pulled.
type box struct {
	runtimeapi.RuntimeServiceClient
	runtimeapi.ImageServiceClient

	mu         sync.Mutex
	n          int                                    // guarded by mu
	sandboxes  map[string]*runtimeapi.PodSandbox      // guarded by mu
	containers map[string]*runtimeapi.ContainerStatus // guarded by mu
	in         map[string]string                      // guarded by mu; sandbox by container
	calls      map[string]int                         // guarded by mu
	// trouble is asked before each call; it may be nil.
	trouble func(call string) error // guarded by mu
	away    string                  // guarded by mu; images with this in their names are not there
	slow    time.Duration           // how long a container takes to end
	changed func(uid types.UID)     // told without the lock
}

func newBox() *box {
	return &box{sandboxes: map[string]*runtimeapi.PodSandbox{}, containers: map[string]*runtimeapi.ContainerStatus{}, in: map[string]string{}, calls: map[string]int{}, away: "away"}
}

// call needs the lock.
func (b *box) call(name string) error {
	b.calls[name]++
	if b.trouble != nil {
		return b.trouble(name)
	}
	return nil
}

func (b *box) called(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[name]
}

func (b *box) id(kind string) string {
	b.n++
	return fmt.Sprintf("%s-%d", kind, b.n)
}

func unknown(id string) error { return grpcstatus.Errorf(codes.NotFound, "%s is not there", id) }

func (b *box) RunPodSandbox(_ context.Context, q *runtimeapi.RunPodSandboxRequest, _ ...grpc.CallOption) (*runtimeapi.RunPodSandboxResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("RunPodSandbox"); err != nil {
		return nil, err
	}
	id := b.id("sandbox")
	b.sandboxes[id] = &runtimeapi.PodSandbox{Id: id, Metadata: q.Config.Metadata, Labels: q.Config.Labels, CreatedAt: time.Now().UnixNano()}
	return &runtimeapi.RunPodSandboxResponse{PodSandboxId: id}, nil
}

func (b *box) PodSandboxStatus(_ context.Context, q *runtimeapi.PodSandboxStatusRequest, _ ...grpc.CallOption) (*runtimeapi.PodSandboxStatusResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("PodSandboxStatus"); err != nil {
		return nil, err
	}
	s := b.sandboxes[q.PodSandboxId]
	if s == nil {
		return nil, unknown(q.PodSandboxId)
	}
	return &runtimeapi.PodSandboxStatusResponse{Status: &runtimeapi.PodSandboxStatus{
		Id: s.Id, Metadata: s.Metadata, State: s.State, CreatedAt: s.CreatedAt, Network: &runtimeapi.PodSandboxNetworkStatus{Ip: "10.0.0.1"},
	}}, nil
}

func (b *box) ListPodSandbox(_ context.Context, q *runtimeapi.ListPodSandboxRequest, _ ...grpc.CallOption) (*runtimeapi.ListPodSandboxResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("ListPodSandbox"); err != nil {
		return nil, err
	}
	out := &runtimeapi.ListPodSandboxResponse{}
	for _, s := range b.sandboxes {
		if matches(q.Filter.GetLabelSelector(), s.Labels) {
			copied := runtimeapi.PodSandbox{Id: s.Id, Metadata: s.Metadata, State: s.State, CreatedAt: s.CreatedAt, Labels: s.Labels}
			out.Items = append(out.Items, &copied)
		}
	}
	return out, nil
}

func matches(want, have map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

func (b *box) CreateContainer(_ context.Context, q *runtimeapi.CreateContainerRequest, _ ...grpc.CallOption) (*runtimeapi.CreateContainerResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("CreateContainer"); err != nil {
		return nil, err
	}
	id := b.id(q.Config.Metadata.Name)
	b.containers[id] = &runtimeapi.ContainerStatus{
		Id: id, Metadata: q.Config.Metadata, State: runtimeapi.ContainerState_CONTAINER_CREATED, CreatedAt: time.Now().UnixNano(),
		Labels: q.Config.Labels, Annotations: q.Config.Annotations, Image: q.Config.Image, ImageRef: q.Config.Image.Image,
	}
	b.in[id] = q.PodSandboxId
	return &runtimeapi.CreateContainerResponse{ContainerId: id}, nil
}

func (b *box) StartContainer(_ context.Context, q *runtimeapi.StartContainerRequest, _ ...grpc.CallOption) (*runtimeapi.StartContainerResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("StartContainer"); err != nil {
		return nil, err
	}
	c := b.containers[q.ContainerId]
	c.State, c.StartedAt = runtimeapi.ContainerState_CONTAINER_RUNNING, time.Now().UnixNano()
	return &runtimeapi.StartContainerResponse{}, nil
}

func (b *box) ListContainers(_ context.Context, q *runtimeapi.ListContainersRequest, _ ...grpc.CallOption) (*runtimeapi.ListContainersResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("ListContainers"); err != nil {
		return nil, err
	}
	out := &runtimeapi.ListContainersResponse{}
	for id, c := range b.containers {
		if matches(q.Filter.GetLabelSelector(), c.Labels) {
			out.Containers = append(out.Containers, &runtimeapi.Container{Id: id, PodSandboxId: b.in[id], State: c.State, Labels: c.Labels, Metadata: c.Metadata})
		}
	}
	return out, nil
}

func (b *box) ContainerStatus(_ context.Context, q *runtimeapi.ContainerStatusRequest, _ ...grpc.CallOption) (*runtimeapi.ContainerStatusResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("ContainerStatus"); err != nil {
		return nil, err
	}
	c := b.containers[q.ContainerId]
	if c == nil {
		return nil, unknown(q.ContainerId)
	}
	return &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{
		Id: c.Id, Metadata: c.Metadata, State: c.State, CreatedAt: c.CreatedAt, StartedAt: c.StartedAt, FinishedAt: c.FinishedAt, ExitCode: c.ExitCode,
		Image: c.Image, ImageRef: c.ImageRef, Labels: c.Labels, Annotations: c.Annotations,
	}}, nil
}

// exit ends a container. It needs the lock.
func (b *box) exit(c *runtimeapi.ContainerStatus, code int32) {
	c.State, c.ExitCode, c.FinishedAt = runtimeapi.ContainerState_CONTAINER_EXITED, code, time.Now().UnixNano()
}

func (b *box) StopContainer(ctx context.Context, q *runtimeapi.StopContainerRequest, _ ...grpc.CallOption) (*runtimeapi.StopContainerResponse, error) {
	select {
	case <-time.After(b.slow):
	case <-ctx.Done():
		return nil, grpcstatus.FromContextError(ctx.Err()).Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("StopContainer"); err != nil {
		return nil, err
	}
	if c := b.containers[q.ContainerId]; c != nil && c.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
		b.exit(c, 143)
	}
	return &runtimeapi.StopContainerResponse{}, nil
}

func (b *box) RemoveContainer(_ context.Context, q *runtimeapi.RemoveContainerRequest, _ ...grpc.CallOption) (*runtimeapi.RemoveContainerResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("RemoveContainer"); err != nil {
		return nil, err
	}
	delete(b.containers, q.ContainerId)
	return &runtimeapi.RemoveContainerResponse{}, nil
}

func (b *box) StopPodSandbox(_ context.Context, q *runtimeapi.StopPodSandboxRequest, _ ...grpc.CallOption) (*runtimeapi.StopPodSandboxResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("StopPodSandbox"); err != nil {
		return nil, err
	}
	b.stop(q.PodSandboxId)
	return &runtimeapi.StopPodSandboxResponse{}, nil
}

// stop ends a sandbox and what is in it. It needs the lock.
func (b *box) stop(id string) {
	if s := b.sandboxes[id]; s != nil {
		s.State = runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	}
	for cid, c := range b.containers {
		if b.in[cid] == id && c.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
			b.exit(c, 137)
		}
	}
}

func (b *box) RemovePodSandbox(_ context.Context, q *runtimeapi.RemovePodSandboxRequest, _ ...grpc.CallOption) (*runtimeapi.RemovePodSandboxResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.call("RemovePodSandbox"); err != nil {
		return nil, err
	}
	delete(b.sandboxes, q.PodSandboxId)
	for id, in := range b.in { // what is in it goes along
		if in == q.PodSandboxId {
			delete(b.containers, id)
		}
	}
	return &runtimeapi.RemovePodSandboxResponse{}, nil
}

func (b *box) ImageStatus(_ context.Context, q *runtimeapi.ImageStatusRequest, _ ...grpc.CallOption) (*runtimeapi.ImageStatusResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away != "" && strings.Contains(q.Image.Image, b.away) {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	return &runtimeapi.ImageStatusResponse{Image: &runtimeapi.Image{Id: q.Image.Image}}, nil
}

func (b *box) PullImage(context.Context, *runtimeapi.PullImageRequest, ...grpc.CallOption) (*runtimeapi.PullImageResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls["PullImage"]++
	return nil, errors.New("the registry is away")
}

// running are the containers that run, by name.
func (b *box) running(name string) (out []*runtimeapi.ContainerStatus) {
	for _, id := range slices.Sorted(maps.Keys(b.containers)) {
		if c := b.containers[id]; c.Metadata.Name == name && c.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
			out = append(out, c)
		}
	}
	return out
}

// crash ends a running container, as the runtime's events tell at once; it
// reports whether there was one.
func (b *box) crash(uid types.UID, name string) bool {
	b.mu.Lock()
	run := b.running(name)
	for _, c := range run {
		b.exit(c, 1)
	}
	b.mu.Unlock()
	if len(run) > 0 {
		b.changed(uid)
	}
	return len(run) > 0
}

// TestImageVanishes: a container whose image goes away while it does not run
// waits for its image, and not for restarts that never were.
func TestImageVanishes(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		s.pods.Update(twoContainers(t, ", image: here"))
		time.Sleep(time.Second)
		s.mu.Lock()
		s.away = "here"
		s.mu.Unlock()
		s.crash("u", "main")
		for range 60 {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if w := s.around.status("u").ContainerStatuses[0].State.Waiting; w == nil || w.Reason != image.ImagePullBackOff && w.Reason != image.ErrImagePull {
				t.Fatalf("main waits for %+v", w)
			}
		}
		s.mu.Lock()
		s.away = ""
		s.mu.Unlock()
		s.pods.Retry("u", func(*corev1.Pod) []string { return []string{"main"} })
		time.Sleep(time.Second)
		synctest.Wait()
		if got := s.around.status("u").ContainerStatuses[0]; got.RestartCount != 1 || got.State.Running == nil {
			t.Errorf("main is %+v", got)
		}
	})
}

// surroundings are all that a worker needs beside a runtime.
type surroundings struct {
	mu       sync.Mutex
	statuses map[types.UID]*corev1.PodStatus // guarded by mu; the newest
	unheard  bool                            // guarded by mu: the API has no newest status
	busy     bool                            // guarded by mu: volumes can't be torn down
}

func (s *surroundings) Set(pod *corev1.Pod, status *corev1.PodStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses[pod.UID] = status
}

func (s *surroundings) status(uid types.UID) *corev1.PodStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statuses[uid]
}

// Teardown fails while volumes are busy.
func (s *surroundings) Teardown(context.Context, types.UID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		return errors.New("device or resource busy")
	}
	return nil
}

func (s *surroundings) Over(uid types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.statuses[uid]
	return !s.unheard && status != nil && (status.Phase == corev1.PodFailed || status.Phase == corev1.PodSucceeded)
}

func (*surroundings) Delete(*corev1.Pod)                                    {}
func (*surroundings) Forget(types.UID)                                      {}
func (*surroundings) Setup(context.Context, *corev1.Pod) error              { return nil }
func (*surroundings) Remove(context.Context, types.UID) error               { return nil }
func (*surroundings) EnsurePod(*corev1.Pod) (string, error)                 { return "/pods", nil }
func (*surroundings) Change(*corev1.Pod) (cgroup.Change, error)             { return cgroup.Change{}, nil }
func (*surroundings) GrowPod(*corev1.Pod) error                             { return nil }
func (*surroundings) ShrinkPod(*corev1.Pod) error                           { return nil }
func (*surroundings) MemoryInUse(pod *corev1.Pod, id string) (int64, error) { return 0, nil }
func (*surroundings) RemovePod(types.UID) error                             { return nil }
func (*surroundings) Object() *corev1.Node                                  { return &corev1.Node{} }
func (*surroundings) IPs() []string                                         { return []string{"192.0.2.1"} }
func (*surroundings) NetworkReady() error                                   { return nil }
func (*surroundings) Mounts(context.Context, *corev1.Pod, *corev1.Container, []env.Variable) ([]*runtimeapi.Mount, []*runtimeapi.Device, error) {
	return nil, nil, nil
}

func (*surroundings) Resources(*corev1.Pod, *corev1.Container) *runtimeapi.LinuxContainerResources {
	return nil
}

func (*surroundings) PodResources(*corev1.Pod) (resources, overhead *runtimeapi.LinuxContainerResources) {
	return nil, nil
}

// scene is Pods over a box.
type scene struct {
	*box
	pods   *Pods
	around *surroundings
}

// play runs a scene in a bubble of time.
func play(t *testing.T, exec probe.Execer, f func(t *testing.T, s *scene)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b, around := newBox(), &surroundings{statuses: map[types.UID]*corev1.PodStatus{}}
		s := &scene{box: b, around: around}
		s.pods = New(Options{
			Runtime: &runtime.Client{Runtime: b, Images: b}, Images: image.NewPuller(b, image.Options{}), Volumes: around, Cgroups: around, Node: around, Statuses: around,
			Events: func(*corev1.Pod, string, string, string, string) {}, Hooks: lifecycle.Runner{Exec: exec},
			Environment: func(context.Context, *corev1.Pod, *corev1.Container, []string) ([]env.Variable, []string, error) {
				return nil, nil, nil
			},
			Handler:     func(context.Context, *corev1.Pod) (string, error) { return "", nil },
			RuntimeName: "box", RootDir: dir, PodLogs: dir, Limits: plan.DefaultLimits, Log: zap.NewNop(),
		})
		probes := probe.New(probe.Options{Exec: exec, Changed: s.pods.Wake, Event: s.pods.o.Events})
		s.pods.SetProbes(probes)
		b.changed = s.pods.Observe
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = s.pods.Run(ctx) }) // ends with the scene
		group.Go(func() { _ = probes.Run(ctx) })
		synctest.Wait()
		f(t, s)
		cancel()
		group.Wait()
	})
}

func twoContainers(t *testing.T, more string) *corev1.Pod {
	return readPod(t, `{metadata: {name: p, namespace: ns, uid: u}, spec: {dnsPolicy: None, restartPolicy: Always, `+
		`containers: [{name: main, image: here}, {name: other`+more+`}]}}`)
}

// While the runtime is away each pod is looked at once a second, not as fast
// as the machine can.
func TestRuntimeAway(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		s.pods.Update(twoContainers(t, ", image: here"))
		time.Sleep(time.Second)
		synctest.Wait()
		s.mu.Lock()
		s.trouble = func(string) error { return grpcstatus.Error(codes.Unavailable, "connection refused") }
		s.mu.Unlock()
		before := s.called("ListPodSandbox")
		s.changed("u")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := s.called("ListPodSandbox") - before; n < 50 || n > 70 {
			t.Errorf("asked %d times in a minute", n)
		}
		// It is back, and what happened meanwhile is seen.
		s.mu.Lock()
		s.trouble = nil
		for _, c := range s.running("main") {
			s.exit(c, 1)
		}
		s.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := s.around.status("u").ContainerStatuses[0]; got.RestartCount != 1 || got.State.Running == nil {
			t.Errorf("main is %+v", got)
		}
	})
}

// TestBesideWaiting: a container that crashes starts again in its own time,
// whatever another of its pod waits for.
func TestBesideWaiting(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		s.pods.Update(twoContainers(t, ", image: away.example/x"))
		time.Sleep(10 * time.Minute) // by now it is pulled every five minutes
		synctest.Wait()
		pulls := s.called("PullImage")
		for n := range int32(3) {
			if !s.crash("u", "main") {
				t.Fatal("main does not run")
			}
			time.Sleep(25 * time.Second) // its own pauses are 0, 10 and 20 s
			synctest.Wait()
			if got := s.around.status("u").ContainerStatuses[0]; got.RestartCount != n+1 || got.State.Running == nil {
				t.Errorf("main, after crash %d, is %+v", n+1, got)
			}
		}
		if w := s.around.status("u").ContainerStatuses[1].State.Waiting; w == nil || w.Reason != image.ImagePullBackOff && w.Reason != image.ErrImagePull {
			t.Errorf("other waits for %+v", w)
		}
		if n := s.called("PullImage") - pulls; n > 1 {
			t.Errorf("%d pulls within 75 s", n)
		}
	})
}
