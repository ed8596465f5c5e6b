package device

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	pb "xebec.dev/proto/gen/plugin/device/v1beta1"
	podpb "xebec.dev/proto/gen/plugin/podresources/v1"
)

const thing = "example.com/thing"

// plugin is a device plugin.
type plugin struct {
	pb.UnimplementedDevicePluginServer
	lists chan []*pb.Device
	stop  func()

	mu        sync.Mutex
	started   []string // guarded by mu
	preferred []string // guarded by mu
	refuses   bool     // guarded by mu
}

func (p *plugin) ListAndWatch(_ *pb.Empty, s grpc.ServerStreamingServer[pb.ListAndWatchResponse]) error {
	for {
		select {
		case l := <-p.lists:
			if err := s.Send(&pb.ListAndWatchResponse{Devices: l}); err != nil {
				return err
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func (p *plugin) GetPreferredAllocation(context.Context, *pb.PreferredAllocationRequest) (*pb.PreferredAllocationResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &pb.PreferredAllocationResponse{ContainerResponses: []*pb.ContainerPreferredAllocationResponse{{DeviceIds: p.preferred}}}, nil
}

func (p *plugin) Allocate(_ context.Context, q *pb.AllocateRequest) (*pb.AllocateResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses {
		return nil, fmt.Errorf("broken")
	}
	ids := strings.Join(q.ContainerRequests[0].DeviceIds, ",")
	return &pb.AllocateResponse{ContainerResponses: []*pb.ContainerAllocateResponse{{
		Envs: map[string]string{"THINGS": ids}, Mounts: []*pb.Mount{{ContainerPath: "/things", HostPath: "/tmp", ReadOnly: true}},
		Devices: []*pb.DeviceSpec{{ContainerPath: "/dev/thing", HostPath: "/dev/null", Permissions: "rw"}}, Annotations: map[string]string{"a": "b"},
		CdiDevices: []*pb.CDIDevice{{Name: "example.com/class=" + ids}},
	}}}, nil
}

func (p *plugin) PreStartContainer(_ context.Context, q *pb.PreStartContainerRequest) (*pb.PreStartContainerResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = append(p.started, q.DeviceIds...)
	return &pb.PreStartContainerResponse{}, nil
}

func serve(t *testing.T, dir, name string) *plugin {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	p := &plugin{lists: make(chan []*pb.Device, 8)}
	s := grpc.NewServer()
	desc := pb.DevicePlugin_ServiceDesc
	desc.ServiceName = "v1beta1.DevicePlugin"
	s.RegisterService(&desc, p)
	go func() { _ = s.Serve(l) }() // ends with Stop
	p.stop = s.Stop
	t.Cleanup(s.Stop)
	return p
}

// register asks as a plugin does.
func register(t *testing.T, dir string, q *pb.RegisterRequest) error {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, socketName), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return conn.Invoke(ctx, "/v1beta1.Registration/Register", q, &pb.Empty{}, grpc.WaitForReady(true))
}

func start(t *testing.T, dir string) (*Manager, func()) {
	t.Helper()
	m, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = m.Run(ctx) }()
	// Sockets from before it serves its own are removed.
	eventually(t, "the kubelet's socket is not there", func() bool {
		_, err := os.Lstat(filepath.Join(dir, socketName))
		return err == nil
	})
	end := func() { cancel(); <-done }
	t.Cleanup(end)
	return m, end
}

func list(health ...string) []*pb.Device {
	var out []*pb.Device
	for i, h := range health {
		out = append(out, &pb.Device{Id: fmt.Sprintf("d%d", i), Health: h, Topology: &pb.TopologyInfo{Nodes: []*pb.NUMANode{{Id: int64(i % 2)}}}})
	}
	return out
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func asks(name string, containers ...int) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)}}
	for i, n := range containers {
		c := corev1.Container{Name: fmt.Sprintf("c%d", i)}
		if n > 0 {
			c.Resources.Limits = corev1.ResourceList{thing: *resource.NewQuantity(int64(n), resource.DecimalSI)}
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	return p
}

func amount(m *Manager) Amount { return m.Amounts()[thing] }

func given(t *testing.T, m *Manager, pod, container string) string {
	t.Helper()
	g, err := m.Start(t.Context(), types.UID(pod), container)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range g.Envs {
		return string(e.Value)
	}
	return ""
}

func TestRegistration(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	for want, q := range map[string]*pb.RegisterRequest{
		`requested API version "v1alpha" is not supported by kubelet. Supported version is "v1beta1"`: {Version: "v1alpha", Endpoint: "x", ResourceName: thing},
		`the ResourceName "cpu" is invalid`:               {Version: Version, Endpoint: "x", ResourceName: "cpu"},
		`the ResourceName "a.kubernetes.io/b" is invalid`: {Version: Version, Endpoint: "x", ResourceName: "a.kubernetes.io/b"},
		`endpoint "../../x" must be the name of a socket`: {Version: Version, Endpoint: "../../x", ResourceName: thing},
		`endpoint "kubelet.sock" must be the name`:        {Version: Version, Endpoint: socketName, ResourceName: thing},
	} {
		if err := register(t, dir, q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", q, err, want)
		}
	}
}

// A plugin's life: devices come, are given, break, and outlive restarts of
// both sides.
func TestDevices(t *testing.T) {
	dir := t.TempDir()
	m, end := start(t, dir)
	p := serve(t, dir, "thing.sock")
	q := &pb.RegisterRequest{Version: Version, Endpoint: "thing.sock", ResourceName: thing, Options: &pb.DevicePluginOptions{PreStartRequired: true, GetPreferredAllocationAvailable: true}}
	if err := register(t, dir, q); err != nil {
		t.Fatal(err)
	}
	p.lists <- list(healthy, healthy, "Unhealthy", healthy)
	eventually(t, "the devices are not known", func() bool { return amount(m) == Amount{4, 3} })

	p.mu.Lock()
	p.preferred = []string{"d3"}
	p.mu.Unlock()
	a := asks("a", 1, 0)
	if err := m.Allocate(t.Context(), a, nil); err != nil {
		t.Fatal(err)
	}
	if have := given(t, m, "a", "c0"); have != "d3" {
		t.Errorf("the plugin's preference is not heeded: %s", have)
	}
	if have := given(t, m, "a", "c1"); have != "" {
		t.Errorf("a container that asks for nothing has %s", have)
	}
	p.mu.Lock()
	if !slices.Equal(p.started, []string{"d3"}) {
		t.Errorf("made ready: %v", p.started)
	}
	p.preferred = nil
	p.mu.Unlock()
	b := asks("b", 1, 1)
	if err := m.Allocate(t.Context(), b, []*corev1.Pod{a}); err != nil {
		t.Fatal(err)
	}
	if x, y := given(t, m, "b", "c0"), given(t, m, "b", "c1"); x != "d0" || y != "d1" {
		t.Errorf("%s, %s", x, y)
	}
	err := m.Allocate(t.Context(), asks("c", 1), []*corev1.Pod{a, b})
	if err == nil || err.Error() != "requested number of devices unavailable for example.com/thing. Requested: 1, Available: 0" {
		t.Error(err)
	}

	end() // the kubelet restarts: what was given is known, what there is comes anew
	m, _ = start(t, dir)
	if amount(m) != (Amount{}) || given(t, m, "b", "c1") != "d1" {
		t.Errorf("%v, %s", amount(m), given(t, m, "b", "c1"))
	}
	p.stop()
	p = serve(t, dir, "thing2.sock")
	q.Endpoint = "thing2.sock"
	if err := register(t, dir, q); err != nil {
		t.Fatal(err)
	}
	p.lists <- list(healthy, healthy, healthy, healthy)
	eventually(t, "the devices are not known again", func() bool { return amount(m) == Amount{4, 4} })
	if err := m.Allocate(t.Context(), asks("c", 1), []*corev1.Pod{a, b}); err != nil || given(t, m, "c", "c0") != "d2" {
		t.Error(err, given(t, m, "c", "c0"))
	}
	// Pod a is no more: what it had is free.
	if err := m.Allocate(t.Context(), asks("d", 1), []*corev1.Pod{b, asks("c", 1)}); err != nil || given(t, m, "d", "c0") != "d3" {
		t.Error(err, given(t, m, "d", "c0"))
	}
	p.mu.Lock()
	p.refuses = true
	p.mu.Unlock()
	if err := m.Allocate(t.Context(), asks("e", 1), nil); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Error(err)
	}
	p.stop() // the plugin is gone
	eventually(t, "the devices of a plugin that is gone can be had", func() bool { return amount(m) == Amount{4, 0} })
	if err := m.Allocate(t.Context(), asks("f", 1), nil); err == nil {
		t.Error("a device of a plugin that is gone was given")
	}
}

// What an init container had, others of the pod may have after it.
func TestInitContainersPassDevicesOn(t *testing.T) {
	dir := t.TempDir()
	m, _ := start(t, dir)
	p := serve(t, dir, "thing.sock")
	if err := register(t, dir, &pb.RegisterRequest{Version: Version, Endpoint: "thing.sock", ResourceName: thing}); err != nil {
		t.Fatal(err)
	}
	p.lists <- list(healthy, healthy, healthy)
	eventually(t, "the devices are not known", func() bool { return amount(m).Capacity == 3 })
	pod := asks("p", 1, 1)
	always := corev1.ContainerRestartPolicyAlways
	for i, name := range []string{"init", "side"} {
		c := asks("x", 2-i).Spec.Containers[0]
		if c.Name = name; name == "side" {
			c.RestartPolicy = &always
		}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
	}
	if err := m.Allocate(t.Context(), pod, nil); err != nil {
		t.Fatal(err)
	}
	have := []string{given(t, m, "p", "init"), given(t, m, "p", "side"), given(t, m, "p", "c0"), given(t, m, "p", "c1")}
	if !slices.Equal(have, []string{"d0,d1", "d0", "d1", "d2"}) {
		t.Error(have)
	}
}

func TestPodResources(t *testing.T) {
	dir := t.TempDir()
	m, _ := start(t, dir)
	p := serve(t, dir, "thing.sock")
	if err := register(t, dir, &pb.RegisterRequest{Version: Version, Endpoint: "thing.sock", ResourceName: thing}); err != nil {
		t.Fatal(err)
	}
	p.lists <- list(healthy, "Unhealthy", healthy, healthy)
	eventually(t, "the devices are not known", func() bool { return amount(m).Capacity == 4 })
	pod := asks("p", 3)
	if err := m.Allocate(t.Context(), pod, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "r", "kubelet.sock")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&Lister{Path: path, Pods: func() []*corev1.Pod { return []*corev1.Pod{pod} }, Devices: m}).Run(ctx)
	}()
	defer func() { cancel(); <-done }()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var have podpb.ListPodResourcesResponse
	eventually(t, "the socket is not served", func() bool { _, err := os.Stat(path); return err == nil })
	if err := conn.Invoke(t.Context(), "/v1.PodResourcesLister/List", &podpb.ListPodResourcesRequest{}, &have, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	if len(have.PodResources) != 1 || have.PodResources[0].Name != "p" || len(have.PodResources[0].Containers) != 1 {
		t.Fatal(&have)
	}
	d := have.PodResources[0].Containers[0].Devices // d0 and d2 are near to memory 0, d3 to 1
	if len(d) != 2 || d[0].ResourceName != thing || !slices.Equal(d[0].DeviceIds, []string{"d0", "d2"}) || d[1].Topology.Nodes[0].Id != 1 {
		t.Error(d)
	}
	var all podpb.AllocatableResourcesResponse
	if err := conn.Invoke(t.Context(), "/v1.PodResourcesLister/GetAllocatableResources", &podpb.AllocatableResourcesRequest{}, &all); err != nil || len(all.Devices) != 2 {
		t.Error(err, &all)
	}
	err = conn.Invoke(t.Context(), "/v1.PodResourcesLister/Get", &podpb.GetPodResourcesRequest{PodName: "q", PodNamespace: "ns"}, &podpb.GetPodResourcesResponse{})
	if err == nil || !strings.Contains(err.Error(), "pod q in namespace ns not found") {
		t.Error(err)
	}
}

// A file that was halved costs what pods had, not the kubelet.
func TestBrokenCheckpoint(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(`{"PodDeviceEntries":[{`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: dir}); err != nil {
		t.Error(err)
	}
}

// A directory whose name is too long for a socket costs devices, not pods.
func TestLongDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	m, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context) error{m.Run, (&Lister{Path: filepath.Join(dir, "s"), Devices: m}).Run} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := run(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
		cancel()
	}
}
