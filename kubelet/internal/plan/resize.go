package plan

import (
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/runtime"
)

// Differ reports whether a running container's resources are not those
// wanted. A runtime that doesn't tell is believed to have them.
func Differ(have, want *runtimeapi.LinuxContainerResources) bool {
	if have == nil || want == nil {
		return false
	}
	return cpuDiffers(have, want) || memoryDiffers(have, want)
}

func cpuDiffers(have, want *runtimeapi.LinuxContainerResources) bool {
	return have.CpuShares != 0 && want.CpuShares != 0 && have.CpuShares != want.CpuShares || max(have.CpuQuota, 0) != max(want.CpuQuota, 0)
}

func memoryDiffers(have, want *runtimeapi.LinuxContainerResources) bool {
	return have.MemoryLimitInBytes != want.MemoryLimitInBytes
}

// resize changes a container whose resources differ in place, or restarts it
// where its policy for what differs says so.
func (p *planner) resize(c *corev1.Container, run *runtime.Container) {
	want := p.in.Resources[c.Name]
	if !Differ(run.Resources, want) {
		return
	}
	restart := slices.ContainsFunc(c.ResizePolicy, func(r corev1.ContainerResizePolicy) bool {
		if r.RestartPolicy != corev1.RestartContainer {
			return false
		}
		return r.ResourceName == corev1.ResourceCPU && cpuDiffers(run.Resources, want) ||
			r.ResourceName == corev1.ResourceMemory && memoryDiffers(run.Resources, want)
	})
	if restart {
		p.add(Action{Op: Kill, Name: c.Name, ID: run.ID, Why: "Container " + c.Name + " resize requires restart", Again: true})
		return
	}
	p.add(Action{Op: Resize, Name: c.Name, ID: run.ID})
}

// resizePod orders the changes of resources after all else: what the pod gets
// more of comes first, then its containers, those that get less before those
// that get more, then what the pod gets less of. Containers that must end for
// it do so before.
func (p *planner) resizePod() {
	var less, more, rest []Action
	for _, a := range p.out.Actions {
		switch {
		case a.Op != Resize:
			rest = append(rest, a)
		case p.lessens(a):
			less = append(less, a)
		default:
			more = append(more, a)
		}
	}
	out := rest
	if p.in.Grows {
		out = append(out, Action{Op: GrowPod})
	}
	out = append(append(out, less...), more...)
	if p.in.Shrinks && !slices.ContainsFunc(rest, func(a Action) bool { return a.Op == Kill }) {
		out = append(out, Action{Op: ShrinkPod})
	}
	p.out.Actions = out
}

// lessens reports whether a resize takes from a container and gives it
// nothing.
func (p *planner) lessens(a Action) bool {
	have, want := p.current(a.Name).Resources, p.in.Resources[a.Name]
	return bound(want.MemoryLimitInBytes) <= bound(have.MemoryLimitInBytes) && bound(want.CpuQuota) <= bound(have.CpuQuota)
}

// bound makes no bound, which is 0 or less, the largest.
func bound(n int64) int64 {
	if n <= 0 {
		return math.MaxInt64
	}
	return n
}

// LowersMemory is the new limit where a change lowers it, 0 where not.
func LowersMemory(have, want *runtimeapi.LinuxContainerResources) int64 {
	if have == nil || bound(want.MemoryLimitInBytes) >= bound(have.MemoryLimitInBytes) {
		return 0
	}
	return want.MemoryLimitInBytes
}
