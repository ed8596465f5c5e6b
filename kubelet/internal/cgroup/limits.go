package cgroup

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Bounds of the kernel.
const (
	minShares = 2
	maxShares = 262144
	// minQuota in microseconds.
	minQuota = 1000
	// defaultPeriod in microseconds.
	defaultPeriod = 100000
)

// Shares are the CPU shares of a request in thousandths of a CPU.
func Shares(milliCPU int64) uint64 {
	if milliCPU <= 0 {
		return minShares
	}
	return uint64(min(max(milliCPU*1024/1000, minShares), maxShares))
}

// Weight is the second version's cpu.weight for shares.
func Weight(shares uint64) uint64 {
	shares = min(max(shares, minShares), maxShares)
	return 1 + (shares-minShares)*9999/(maxShares-minShares)
}

// Quota is how much CPU a limit gives in a period, both in microseconds.
// Without a limit it is 0.
func Quota(milliCPU, period int64) int64 {
	if milliCPU <= 0 {
		return 0
	}
	return max(milliCPU*period/1000, minQuota)
}

// Limit is what a group gets; nil is left as it is.
type Limit struct {
	Shares *uint64
	// Quota in microseconds a Period; 0 or less is no bound.
	Quota  *int64
	Period int64
	// Memory in bytes; 0 or less is no bound.
	Memory *int64
	// PIDs; 0 or less is no bound.
	PIDs *int64
	// HugePages in bytes by size, as the kernel calls it (2MB).
	HugePages map[string]int64
}

// String prints a limit.
func (l Limit) String() string {
	var parts []string
	if l.Shares != nil {
		parts = append(parts, fmt.Sprintf("shares=%d", *l.Shares))
	}
	if l.Quota != nil {
		parts = append(parts, fmt.Sprintf("quota=%d/%d", *l.Quota, l.Period))
	}
	if l.Memory != nil {
		parts = append(parts, fmt.Sprintf("memory=%d", *l.Memory))
	}
	if l.PIDs != nil {
		parts = append(parts, fmt.Sprintf("pids=%d", *l.PIDs))
	}
	for _, size := range slices.Sorted(maps.Keys(l.HugePages)) {
		parts = append(parts, fmt.Sprintf("hugepages-%s=%d", size, l.HugePages[size]))
	}
	return strings.Join(parts, " ")
}

func ptr[T any](v T) *T { return &v }

// PodLimit is the limit of a pod's group.
func (o Options) PodLimit(pod *corev1.Pod) Limit {
	requests, limits := Requests(pod), Limits(pod)
	l := Limit{HugePages: o.hugePages(limits)}
	if o.PodPIDs > 0 {
		l.PIDs = ptr(o.PodPIDs)
	}
	cpu := requests[corev1.ResourceCPU]
	class := QOS(pod)
	if class == corev1.PodQOSBestEffort {
		l.Shares = ptr(uint64(minShares))
		return l
	}
	l.Shares = ptr(Shares(milli(cpu)))
	if class == corev1.PodQOSGuaranteed || declared(pod, corev1.ResourceCPU) {
		l.Period = o.period()
		l.Quota = ptr(int64(-1))
		if !o.NoCPUQuota {
			l.Quota = ptr(Quota(milli(limits[corev1.ResourceCPU]), l.Period))
		}
	} else {
		l.Period, l.Quota = o.period(), ptr(int64(-1)) // a resize may have taken it away
	}
	if class == corev1.PodQOSGuaranteed || declared(pod, corev1.ResourceMemory) {
		q := limits[corev1.ResourceMemory]
		l.Memory = ptr(q.Value())
	} else {
		l.Memory = ptr(int64(-1))
	}
	return l
}

func (o Options) period() int64 {
	if o.CPUPeriod <= 0 {
		return defaultPeriod
	}
	return o.CPUPeriod.Microseconds()
}

// hugePages are the limits by the kernel's names of sizes; pages of a size
// without a limit may not be used.
func (o Options) hugePages(limits corev1.ResourceList) map[string]int64 {
	out := map[string]int64{}
	for _, size := range o.PageSizes {
		out[size] = 0
	}
	for name, q := range limits {
		if size, ok := pageSize(name); ok {
			out[size] = q.Value()
		}
	}
	return out
}

// pageSize is the kernel's name of the size of a resource hugepages-2Mi.
func pageSize(name corev1.ResourceName) (string, bool) {
	s, ok := strings.CutPrefix(string(name), corev1.ResourceHugePagesPrefix)
	if !ok || len(s) < 3 || s[len(s)-1] != 'i' {
		return "", false
	}
	return s[:len(s)-1] + "B", true
}

// ClassLimits are the limits of the groups of the classes, by path element:
// that of all pods ("") and those of burstable and besteffort pods.
func (o Options) ClassLimits(pods []*corev1.Pod) map[string]Limit {
	var burstable int64
	for _, p := range pods {
		if QOS(p) == corev1.PodQOSBurstable {
			r := Requests(p)
			burstable += milli(r[corev1.ResourceCPU])
		}
	}
	return map[string]Limit{
		"":              o.allPods(),
		burstableClass:  {Shares: ptr(Shares(burstable))},
		bestEffortClass: {Shares: ptr(uint64(minShares))},
	}
}

// allPods is what all pods may use together.
func (o Options) allPods() Limit {
	l := Limit{}
	if cpu, ok := o.Allocatable[corev1.ResourceCPU]; ok {
		l.Shares = ptr(Shares(milli(cpu)))
	}
	if !o.Enforce {
		return l
	}
	if memory, ok := o.Allocatable[corev1.ResourceMemory]; ok {
		l.Memory = ptr(memory.Value())
	}
	if pids, ok := o.Allocatable["pid"]; ok {
		l.PIDs = ptr(pids.Value())
	}
	for name, q := range o.Allocatable {
		if size, ok := pageSize(name); ok {
			if l.HugePages == nil {
				l.HugePages = map[string]int64{}
			}
			l.HugePages[size] = q.Value()
		}
	}
	return l
}
