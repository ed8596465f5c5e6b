package plan

import (
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

// resize changes a container in place, or restarts it where its policy for
// what differs says so.
func (p *planner) resize(c *corev1.Container, run *runtime.Container, want *runtimeapi.LinuxContainerResources) {
	restart := slices.ContainsFunc(c.ResizePolicy, func(r corev1.ContainerResizePolicy) bool {
		if r.RestartPolicy != corev1.RestartContainer {
			return false
		}
		return r.ResourceName == corev1.ResourceCPU && cpuDiffers(run.Resources, want) ||
			r.ResourceName == corev1.ResourceMemory && memoryDiffers(run.Resources, want)
	})
	if restart {
		p.add(Action{Op: Kill, Name: c.Name, ID: run.ID, Why: "Container " + c.Name + " resize requires restart"})
		return
	}
	p.add(Action{Op: Resize, Name: c.Name, ID: run.ID})
}
