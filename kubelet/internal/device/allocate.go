package device

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	pb "xebec.dev/proto/gen/plugin/device/v1beta1"
)

// need is what one container asks for of a resource.
type need struct {
	container, resource string
	n                   int
	// passes: the container ends before others begin, which may have its
	// devices then.
	passes bool
}

// needs are those of a pod's containers in the order in which they start.
func (m *Manager) needs(pod *corev1.Pod) []need {
	m.mu.Lock()
	known := m.known()
	m.mu.Unlock()
	var out []need
	add := func(c *corev1.Container, passes bool) {
		for _, name := range known {
			q, ok := c.Resources.Limits[corev1.ResourceName(name)]
			if ok && q.Value() > 0 {
				out = append(out, need{container: c.Name, resource: name, n: int(q.Value()), passes: passes})
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		add(c, c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways)
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i], false)
	}
	return out
}

// Allocate gives a pod its devices; others are the pods that are here, all
// else has given its devices back. The error is for people. One pod at a time.
func (m *Manager) Allocate(ctx context.Context, pod *corev1.Pod, others []*corev1.Pod) error {
	needs := m.needs(pod)
	if len(needs) == 0 {
		return nil
	}
	m.release(pod, others)
	got := grants{}
	left := map[string]map[string]bool{} // by resource: what init containers had
	for _, n := range needs {
		g, err := m.one(ctx, n, got, left)
		if err != nil {
			return err
		}
		got.set(n.container, n.resource, g)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.given[pod.UID] = got
	if err := m.save(); err != nil {
		delete(m.given, pod.UID)
		return fmt.Errorf("write what devices the pod has: %w", err)
	}
	return nil
}

// release takes back what pods had that are no more.
func (m *Manager) release(pod *corev1.Pod, others []*corev1.Pod) {
	here := map[types.UID]bool{}
	for _, o := range others {
		here[o.UID] = true
	}
	delete(here, pod.UID)
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.given, func(uid types.UID, _ grants) bool { return !here[uid] })
}

// one gives a container its devices of one resource.
func (m *Manager) one(ctx context.Context, n need, got grants, left map[string]map[string]bool) (*grant, error) {
	m.mu.Lock()
	e := m.endpoints[n.resource]
	var free, again []string
	if e != nil {
		free, again = m.available(e, got, left[n.resource])
	}
	m.mu.Unlock()
	if e == nil || len(free)+len(again) < n.n {
		return nil, fmt.Errorf("requested number of devices unavailable for %s. Requested: %d, Available: %d", n.resource, n.n, len(free)+len(again))
	}
	ids, err := choose(ctx, e, free, again, n.n)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	answer, err := e.allocate(ctx, ids)
	if m.o.Allocated != nil {
		m.o.Allocated(n.resource, time.Since(began))
	}
	if err != nil {
		return nil, err
	}
	if left[n.resource] == nil {
		left[n.resource] = map[string]bool{}
	}
	for _, id := range ids {
		left[n.resource][id] = n.passes
	}
	return &grant{ids: ids, answer: answer, nodes: m.nodes(e, ids)}, nil
}

// available are the devices that nobody has, and those that init containers
// of the same pod leave behind. It needs the lock.
func (m *Manager) available(e *endpoint, got grants, left map[string]bool) (free, again []string) {
	taken := map[string]bool{}
	for _, pod := range m.given {
		pod.mark(e.resource, taken)
	}
	got.mark(e.resource, taken)
	for id := range e.devices {
		switch {
		case !e.healthy(id):
		case left[id]:
			again = append(again, id)
		case !taken[id]:
			free = append(free, id)
		}
	}
	slices.Sort(free)
	slices.Sort(again)
	return free, again
}

func (g grants) mark(resource string, taken map[string]bool) {
	for _, resources := range g {
		if one := resources[resource]; one != nil {
			for _, id := range one.ids {
				taken[id] = true
			}
		}
	}
}

// choose takes what init containers leave first, then what the plugin prefers.
func choose(ctx context.Context, e *endpoint, free, again []string, n int) ([]string, error) {
	if len(again) >= n {
		return again[:n], nil
	}
	preferred, err := e.prefer(ctx, append(slices.Clone(again), free...), again, n)
	if err != nil {
		return nil, err
	}
	ids := slices.Clone(again)
	for _, id := range append(preferred, free...) {
		if len(ids) < n && !slices.Contains(ids, id) && slices.Contains(free, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (m *Manager) nodes(e *endpoint, ids []string) map[string][]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string][]int64{}
	for _, id := range ids {
		out[id] = nodesOf(e.devices[id])
	}
	return out
}

func nodesOf(d *pb.Device) []int64 {
	var out []int64
	for _, n := range d.GetTopology().GetNodes() {
		out = append(out, n.Id)
	}
	return out
}

// Given is what a container needs to use its devices.
type Given struct {
	Envs        []*runtimeapi.KeyValue
	Mounts      []*runtimeapi.Mount
	Devices     []*runtimeapi.Device
	CDIDevices  []*runtimeapi.CDIDevice
	Annotations map[string]string
}

// Start says what a container that is about to start needs, and has its
// plugins make its devices ready.
func (m *Manager) Start(ctx context.Context, pod types.UID, container string) (*Given, error) {
	m.mu.Lock()
	resources := maps.Clone(m.given[pod][container])
	endpoints := maps.Clone(m.endpoints)
	m.mu.Unlock()
	out := &Given{Annotations: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		g := resources[name]
		if e := endpoints[name]; e != nil {
			if err := e.preStart(ctx, g.ids); err != nil {
				return nil, fmt.Errorf("device plugin PreStartContainer rpc failed with err: %w", err)
			}
		}
		out.add(g.answer)
	}
	return out, nil
}

func (g *Given) add(a *pb.ContainerAllocateResponse) {
	for _, k := range slices.Sorted(maps.Keys(a.Envs)) {
		g.Envs = append(g.Envs, &runtimeapi.KeyValue{Key: k, Value: []byte(a.Envs[k])})
	}
	for _, x := range a.Mounts {
		g.Mounts = append(g.Mounts, &runtimeapi.Mount{ContainerPath: x.ContainerPath, HostPath: x.HostPath, Readonly: x.ReadOnly})
	}
	for _, d := range a.Devices {
		g.Devices = append(g.Devices, &runtimeapi.Device{ContainerPath: d.ContainerPath, HostPath: d.HostPath, Permissions: d.Permissions})
	}
	for _, d := range a.CdiDevices {
		g.CDIDevices = append(g.CDIDevices, &runtimeapi.CDIDevice{Name: d.Name})
	}
	maps.Copy(g.Annotations, a.Annotations)
}
