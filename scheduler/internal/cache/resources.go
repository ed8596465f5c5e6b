package cache

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/api/core"
)

// Resource is an index into the columns of resources.
type Resource int

// The resources every cluster has; extended ones follow as they appear.
const (
	CPU Resource = iota // millicores
	Memory
	Ephemeral
	Pods
)

// What a container that asks for nothing counts as, in scoring only.
const (
	unstatedCPU    = 100
	unstatedMemory = 200 << 20
)

// Amount is so much of one resource: millicores of CPU, else units.
type Amount struct {
	Resource Resource
	Value    int64
}

// resources gives every name its index.
type resources struct {
	names []corev1.ResourceName
	index map[corev1.ResourceName]Resource
}

func newResources() resources {
	r := resources{index: map[corev1.ResourceName]Resource{}}
	for _, n := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourcePods} {
		r.of(n)
	}
	return r
}

func (r *resources) of(name corev1.ResourceName) Resource {
	i, ok := r.index[name]
	if !ok {
		i = Resource(len(r.names))
		r.names = append(r.names, name)
		r.index[name] = i
	}
	return i
}

// value of a quantity in the column's unit.
func value(r Resource, q resource.Quantity) int64 {
	if r == CPU {
		return q.MilliValue()
	}
	return q.Value()
}

// requests is what a pod asks for, for filters and (nonzero) for scores.
type requests struct {
	list    corev1.ResourceList
	nonzero [2]int64 // CPU, Memory
}

// podRequests adds up a pod: containers, sidecars, the init rule, resources
// stated for the pod as a whole, overhead. Containers resized in place count
// with the larger of what they have and what they want.
func podRequests(p *corev1.Pod) requests {
	spec := p.Spec
	spec.Containers = resized(p, spec.Containers, p.Status.ContainerStatuses)
	spec.InitContainers = resized(p, spec.InitContainers, p.Status.InitContainerStatuses)
	out := requests{list: core.ContainerRequests(&spec)}
	stated := spec
	stated.Containers, stated.InitContainers = withUnstated(spec.Containers), withUnstated(spec.InitContainers)
	full := core.ContainerRequests(&stated)
	out.nonzero = [2]int64{quantity(full, corev1.ResourceCPU, CPU), quantity(full, corev1.ResourceMemory, Memory)}
	if spec.Resources != nil {
		for name, q := range spec.Resources.Requests {
			out.list[name] = q
			switch name {
			case corev1.ResourceCPU:
				out.nonzero[0] = q.MilliValue()
			case corev1.ResourceMemory:
				out.nonzero[1] = q.Value()
			}
		}
	}
	for name, q := range spec.Overhead {
		sum := out.list[name].DeepCopy()
		sum.Add(q)
		out.list[name] = sum
	}
	out.nonzero[0] += quantity(spec.Overhead, corev1.ResourceCPU, CPU)
	out.nonzero[1] += quantity(spec.Overhead, corev1.ResourceMemory, Memory)
	return out
}

func quantity(l corev1.ResourceList, name corev1.ResourceName, r Resource) int64 {
	q, ok := l[name]
	if !ok {
		return 0
	}
	return value(r, q)
}

func withUnstated(list []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, len(list))
	for i := range list {
		out[i] = corev1.Container{RestartPolicy: list[i].RestartPolicy}
		l := corev1.ResourceList{
			corev1.ResourceCPU:    *resource.NewMilliQuantity(unstatedCPU, resource.DecimalSI),
			corev1.ResourceMemory: *resource.NewQuantity(unstatedMemory, resource.BinarySI),
		}
		for name, q := range list[i].Resources.Requests {
			l[name] = q
		}
		out[i].Resources.Requests = l
	}
	return out
}

// resized gives containers the larger of their spec's requests and what the
// kubelet has allocated; a resize that can't be done counts for nothing.
func resized(p *corev1.Pod, list []corev1.Container, statuses []corev1.ContainerStatus) []corev1.Container {
	if len(statuses) == 0 {
		return list
	}
	infeasible := false
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		infeasible = infeasible || c.Type == corev1.PodResizePending && c.Reason == corev1.PodReasonInfeasible
	}
	var out []corev1.Container
	for i := range list {
		for j := range statuses {
			s := &statuses[j]
			if s.Name != list[i].Name || s.AllocatedResources == nil && s.Resources == nil {
				continue
			}
			if out == nil {
				out = append(out, list...)
			}
			out[i].Resources.Requests = allocated(list[i].Resources.Requests, s, infeasible)
		}
	}
	if out == nil {
		return list
	}
	return out
}

func allocated(spec corev1.ResourceList, s *corev1.ContainerStatus, infeasible bool) corev1.ResourceList {
	out := corev1.ResourceList{}
	sources := []corev1.ResourceList{s.AllocatedResources}
	if s.Resources != nil {
		sources = append(sources, s.Resources.Requests)
	}
	if !infeasible {
		sources = append(sources, spec)
	}
	for _, l := range sources {
		for name, q := range l {
			if have, ok := out[name]; !ok || q.Cmp(have) > 0 {
				out[name] = q
			}
		}
	}
	return out
}
