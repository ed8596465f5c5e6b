package cgroup

import (
	"os"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ContainerOptions are what a container's resources depend on besides the
// pod.
type ContainerOptions struct {
	Options
	// MemoryCapacity of the node in bytes.
	MemoryCapacity int64
	// Version is that of the kernel's interface.
	Version int
	// Swap: the kernel counts swap, and containers get none.
	Swap bool
	// SingleProcessOOMKill leaves the other processes of a container alive
	// when one is killed for its memory.
	SingleProcessOOMKill bool
}

// Container is what the runtime is told of a container's resources.
func Container(pod *corev1.Pod, c *corev1.Container, o ContainerOptions) *runtimeapi.LinuxContainerResources {
	limit := func(name corev1.ResourceName) int64 {
		q, ok := c.Resources.Limits[name]
		if (!ok || q.IsZero()) && pod.Spec.Resources != nil {
			q = pod.Spec.Resources.Limits[name]
		}
		if name == corev1.ResourceCPU {
			return q.MilliValue()
		}
		return q.Value()
	}
	cpu := limit(corev1.ResourceCPU)
	request, asked := c.Resources.Requests[corev1.ResourceCPU]
	out := &runtimeapi.LinuxContainerResources{
		CpuShares:          int64(Shares(request.MilliValue())),
		MemoryLimitInBytes: limit(corev1.ResourceMemory),
		OomScoreAdj:        OOMScore(pod, c, o.MemoryCapacity),
	}
	if own, ok := c.Resources.Limits[corev1.ResourceCPU]; !asked && ok {
		out.CpuShares = int64(Shares(own.MilliValue()))
	}
	if !o.NoCPUQuota {
		out.CpuPeriod = o.period()
		out.CpuQuota = Quota(cpu, out.CpuPeriod)
	}
	if o.Swap {
		out.MemorySwapLimitInBytes = out.MemoryLimitInBytes
	}
	for size, n := range sorted(o.hugePages(c.Resources.Limits)) {
		out.HugepageLimits = append(out.HugepageLimits, &runtimeapi.HugepageLimit{PageSize: size, Limit: uint64(n)})
	}
	if o.Version == 2 && !o.SingleProcessOOMKill {
		out.Unified = map[string]string{"memory.oom.group": "1"}
	}
	return out
}

// Scores of processes when the kernel must kill one: the lower, the later.
const (
	guaranteedScore = -997
	bestEffortScore = 1000
)

// systemCritical is the lowest priority of critical pods.
const systemCritical = 2000000000

// nodeCritical are static pods, and those of highest priority, of the class
// that a node can't do without.
func nodeCritical(pod *corev1.Pod) bool {
	critical := pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical
	if source, ok := pod.Annotations["kubernetes.io/config.source"]; ok && source != "api" {
		critical = true
	}
	if _, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]; ok {
		critical = true
	}
	return critical && pod.Spec.PriorityClassName == "system-node-critical"
}

// OOMScore is the oom_score_adj of a container. What a burstable one asks
// for protects it, in proportion to the node's memory.
func OOMScore(pod *corev1.Pod, c *corev1.Container, capacity int64) int64 {
	if nodeCritical(pod) {
		return guaranteedScore
	}
	switch QOS(pod) {
	case corev1.PodQOSGuaranteed:
		return guaranteedScore
	case corev1.PodQOSBestEffort:
		return bestEffortScore
	}
	score := burstableScore(pod, c, capacity)
	if sidecar(c) {
		// Never killed before what it serves.
		for i := range pod.Spec.Containers {
			score = min(score, burstableScore(pod, &pod.Spec.Containers[i], capacity))
		}
	}
	return score
}

func burstableScore(pod *corev1.Pod, c *corev1.Container, capacity int64) int64 {
	if capacity <= 0 {
		return bestEffortScore - 1
	}
	asked := c.Resources.Requests.Memory().Value() + rest(pod)
	score := 1000 - 1000*float64(asked)/float64(capacity)
	switch {
	case int64(score) < 1000+guaranteedScore:
		return 1000 + guaranteedScore
	case int64(score) == bestEffortScore:
		return bestEffortScore - 1 // still protected a little
	}
	return int64(score)
}

// rest is each container's share of memory that the pod asks for beyond what
// its containers do.
func rest(pod *corev1.Pod) int64 {
	if pod.Spec.Resources == nil {
		return 0
	}
	whole, ok := pod.Spec.Resources.Requests[corev1.ResourceMemory]
	if !ok {
		return 0
	}
	left, n := whole.Value(), int64(len(pod.Spec.Containers))
	for i := range pod.Spec.Containers {
		left -= pod.Spec.Containers[i].Resources.Requests.Memory().Value()
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; sidecar(c) {
			left -= c.Resources.Requests.Memory().Value()
			n++
		}
	}
	if left <= 0 || n == 0 {
		return 0
	}
	return left / n
}

// SandboxResources and SandboxOverhead tell the runtime what the whole pod
// gets and what its sandbox takes of that.
func SandboxResources(pod *corev1.Pod, o ContainerOptions) (resources, overhead *runtimeapi.LinuxContainerResources) {
	limits, requests := Limits(pod), Requests(pod)
	cpu, memory := limits[corev1.ResourceCPU], limits[corev1.ResourceMemory]
	asked := requests[corev1.ResourceCPU]
	resources = &runtimeapi.LinuxContainerResources{CpuShares: int64(Shares(asked.MilliValue())), MemoryLimitInBytes: memory.Value()}
	if !o.NoCPUQuota {
		resources.CpuPeriod = o.period()
		resources.CpuQuota = Quota(cpu.MilliValue(), resources.CpuPeriod)
	}
	overhead = &runtimeapi.LinuxContainerResources{}
	if pod.Spec.Overhead != nil {
		overhead.CpuShares = int64(Shares(pod.Spec.Overhead.Cpu().MilliValue()))
		overhead.MemoryLimitInBytes = pod.Spec.Overhead.Memory().Value()
	}
	return resources, overhead
}

// pageSizes are the kernel's names of its sizes of huge pages.
func pageSizes() []string {
	entries, err := os.ReadDir("/sys/kernel/mm/hugepages")
	if err != nil {
		return nil // a kernel without
	}
	var out []string
	for _, e := range entries {
		if kb, ok := strings.CutPrefix(e.Name(), "hugepages-"); ok {
			if n, err := strconv.ParseInt(strings.TrimSuffix(kb, "kB"), 10, 64); err == nil {
				out = append(out, sizeName(n))
			}
		}
	}
	return out
}

func sizeName(kb int64) string {
	switch {
	case kb%(1<<20) == 0:
		return strconv.FormatInt(kb>>20, 10) + "GB"
	case kb%(1<<10) == 0:
		return strconv.FormatInt(kb>>10, 10) + "MB"
	}
	return strconv.FormatInt(kb, 10) + "KB"
}
