package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	podpb "xebec.dev/proto/gen/plugin/podresources/v1"
)

// Lister tells programs on the node which pod has which devices: monitoring
// and topology exporters ask it.
type Lister struct {
	podpb.UnimplementedPodResourcesListerServer
	// Path of the socket.
	Path string
	// Pods are those that use the node's resources.
	Pods    func() []*corev1.Pod
	Devices *Manager
}

// Run serves until ctx ends; that it can't is only told.
func (l *Lister) Run(ctx context.Context) error {
	listener, err := l.listen()
	if err != nil {
		l.Devices.o.Log.Error("the resources of pods can't be asked for", zap.String("socket", l.Path), zap.Error(err))
		<-ctx.Done()
		return ctx.Err()
	}
	s := grpc.NewServer()
	desc := podpb.PodResourcesLister_ServiceDesc
	desc.ServiceName = "v1.PodResourcesLister"
	s.RegisterService(&desc, l)
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	if err := s.Serve(listener); ctx.Err() == nil {
		return err
	}
	return ctx.Err()
}

func (l *Lister) listen() (net.Listener, error) {
	const private = 0o750
	if err := os.MkdirAll(filepath.Dir(l.Path), private); err != nil {
		return nil, err
	}
	if err := os.Remove(l.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", l.Path)
}

// List implements the service.
func (l *Lister) List(context.Context, *podpb.ListPodResourcesRequest) (*podpb.ListPodResourcesResponse, error) {
	out := &podpb.ListPodResourcesResponse{}
	for _, pod := range l.Pods() {
		out.PodResources = append(out.PodResources, l.resources(pod))
	}
	return out, nil
}

// Get implements the service.
func (l *Lister) Get(_ context.Context, q *podpb.GetPodResourcesRequest) (*podpb.GetPodResourcesResponse, error) {
	for _, pod := range l.Pods() {
		if pod.Name == q.PodName && pod.Namespace == q.PodNamespace {
			return &podpb.GetPodResourcesResponse{PodResources: l.resources(pod)}, nil
		}
	}
	return nil, status.Errorf(codes.Unknown, "pod %s in namespace %s not found", q.PodName, q.PodNamespace)
}

// GetAllocatableResources implements the service.
func (l *Lister) GetAllocatableResources(context.Context, *podpb.AllocatableResourcesRequest) (*podpb.AllocatableResourcesResponse, error) {
	return &podpb.AllocatableResourcesResponse{Devices: l.Devices.all()}, nil
}

func (l *Lister) resources(pod *corev1.Pod) *podpb.PodResources {
	out := &podpb.PodResources{Name: pod.Name, Namespace: pod.Namespace}
	add := func(c *corev1.Container) {
		out.Containers = append(out.Containers, &podpb.ContainerResources{Name: c.Name, Devices: l.Devices.of(pod.UID, c.Name)})
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	return out
}

// of are a container's devices, those near to the same memory together.
func (m *Manager) of(pod types.UID, container string) []*podpb.ContainerDevices {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*podpb.ContainerDevices
	resources := m.given[pod][container]
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		out = append(out, gather(name, resources[name].ids, resources[name].nodes)...)
	}
	return out
}

// all are the devices that can be had.
func (m *Manager) all() []*podpb.ContainerDevices {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*podpb.ContainerDevices
	for _, name := range slices.Sorted(maps.Keys(m.endpoints)) {
		e := m.endpoints[name]
		var ids []string
		nodes := map[string][]int64{}
		for id, d := range e.devices {
			if e.healthy(id) {
				ids = append(ids, id)
				nodes[id] = nodesOf(d)
			}
		}
		slices.Sort(ids)
		out = append(out, gather(name, ids, nodes)...)
	}
	return out
}

// gather puts devices together that are near to the same memory.
func gather(resource string, ids []string, nodes map[string][]int64) []*podpb.ContainerDevices {
	var out []*podpb.ContainerDevices
	at := map[string]*podpb.ContainerDevices{}
	for _, id := range ids {
		key := fmt.Sprint(nodes[id])
		d := at[key]
		if d == nil {
			d = &podpb.ContainerDevices{ResourceName: resource}
			if len(nodes[id]) > 0 {
				d.Topology = &podpb.TopologyInfo{}
				for _, n := range nodes[id] {
					d.Topology.Nodes = append(d.Topology.Nodes, &podpb.NUMANode{Id: n})
				}
			}
			at[key] = d
			out = append(out, d)
		}
		d.DeviceIds = append(d.DeviceIds, id)
	}
	return out
}
