// Package eviction ends pods when the node runs short of memory, disk or
// processes. What is short, and which pod goes, are pure functions of what
// was observed; the Manager observes and acts.
package eviction

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/runtime"
)

// Signal of a resource, as in "memory.available".
type Signal string

// The signals.
const (
	Memory          Signal = "memory.available"
	NodeFS          Signal = "nodefs.available"
	NodeFSInodes    Signal = "nodefs.inodesFree"
	ImageFS         Signal = "imagefs.available"
	ImageFSInodes   Signal = "imagefs.inodesFree"
	ContainerFS     Signal = "containerfs.available"
	ContainerInodes Signal = "containerfs.inodesFree"
	PIDs            Signal = "pid.available"
	AllocatableMem  Signal = "allocatableMemory.available"
	// What a pod uses more of than it may.
	EmptyDirLimit  Signal = "emptydirfs.limit"
	ContainerLimit Signal = "ephemeralcontainerfs.limit"
	PodLimit       Signal = "ephemeralpodfs.limit"
)

// Observation is how much there is of a resource.
type Observation struct{ Available, Capacity int64 }

// Threshold is when a resource is short.
type Threshold struct {
	Signal Signal
	// Value in the resource's unit, or Share of its capacity.
	Value int64
	Share float64
	// Grace is how long a soft threshold must hold; 0 is a hard one.
	Grace time.Duration
	// Reclaim is how much more than the value is freed.
	Reclaim int64
	// ReclaimShare is that as a share of the capacity.
	ReclaimShare float64
}

func (t *Threshold) at(o Observation) int64 {
	if t.Share > 0 {
		return int64(t.Share * float64(o.Capacity))
	}
	return t.Value
}

// Hard reports whether the threshold acts at once.
func (t *Threshold) Hard() bool { return t.Grace == 0 }

// Met are the thresholds that are crossed; one in short already stays until
// its minimum reclaim is there as well.
func Met(thresholds []Threshold, seen map[Signal]Observation, short []Threshold) []Threshold {
	var out []Threshold
	for _, t := range thresholds {
		o, ok := seen[t.Signal]
		if !ok {
			continue
		}
		limit := t.at(o)
		if slices.Contains(short, t) {
			limit += t.Reclaim + int64(t.ReclaimShare*float64(o.Capacity))
		}
		if o.Available < limit {
			out = append(out, t)
		}
	}
	return out
}

// Pressures of the node.
type Pressures struct{ Memory, Disk, PIDs bool }

// PressureOf says which conditions signals stand for.
func PressureOf(signals []Signal) Pressures {
	var p Pressures
	for _, s := range signals {
		switch resourceOf(s) {
		case corev1.ResourceMemory:
			p.Memory = true
		case pidResource:
			p.PIDs = true
		default:
			p.Disk = true
		}
	}
	return p
}

const (
	pidResource    corev1.ResourceName = "pids"
	inodesResource corev1.ResourceName = "inodes"
)

// resourceOf is the resource's name in messages.
func resourceOf(s Signal) corev1.ResourceName {
	switch s {
	case Memory, AllocatableMem:
		return corev1.ResourceMemory
	case PIDs:
		return pidResource
	case NodeFSInodes, ImageFSInodes, ContainerInodes:
		return inodesResource
	}
	return corev1.ResourceEphemeralStorage
}

// Use is what a pod uses.
type Use struct {
	Pod *corev1.Pod
	// Memory, Disk in bytes, Inodes and PIDs in number.
	Memory, Disk, Inodes, PIDs int64
	// Containers' memory and disk, by name.
	ContainerMemory, ContainerDisk map[string]int64
	// EmptyDirs in bytes, by volume.
	EmptyDirs map[string]int64
}

// Critical pods are not evicted.
func Critical(pod *corev1.Pod) bool {
	const systemCritical = 2000000000
	return runtime.IsStatic(pod) || runtime.IsMirror(pod) || pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical
}

// Rank sorts pods by who goes first: those that use more than they asked for,
// then the least important, then those furthest above what they asked for.
func Rank(uses []Use, s Signal) []Use {
	name := resourceOf(s)
	out := slices.DeleteFunc(slices.Clone(uses), func(u Use) bool { return Critical(u.Pod) })
	priority := func(u Use) int32 {
		if u.Pod.Spec.Priority == nil {
			return 0
		}
		return *u.Pod.Spec.Priority
	}
	slices.SortStableFunc(out, func(a, b Use) int {
		over := 0
		if name != pidResource && name != inodesResource {
			over = -compareBool(a.used(name) > request(a.Pod, name), b.used(name) > request(b.Pod, name))
		}
		return cmp.Or(over, cmp.Compare(priority(a), priority(b)),
			-cmp.Compare(a.used(name)-request(a.Pod, name), b.used(name)-request(b.Pod, name)))
	})
	return out
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func (u *Use) used(name corev1.ResourceName) int64 {
	switch name {
	case corev1.ResourceMemory:
		return u.Memory
	case pidResource:
		return u.PIDs
	case inodesResource:
		return u.Inodes
	}
	return u.Disk
}

// request is what the pod was promised as a whole, its sidecars' share included.
func request(pod *corev1.Pod, name corev1.ResourceName) int64 {
	q := cgroup.Requests(pod)[name]
	return q.Value()
}

// gracePeriod, in seconds, of a pod that a threshold ends. Nobody has time for
// one that is hard; for others the pod's own is cut to what the node allows, which
// is none by default. most below zero leaves it as it is.
func gracePeriod(pod *corev1.Pod, t *Threshold, most int64) int64 {
	own := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		own = *s
	}
	switch {
	case t.Hard():
		return 1
	case most < 0:
		return own
	}
	return max(min(own, most), 1)
}

// Message says to people why a pod was evicted.
func Message(u *Use, t *Threshold, o Observation) string {
	name := resourceOf(t.Signal)
	var b strings.Builder
	fmt.Fprintf(&b, "The node was low on resource: %s. ", name)
	format := resource.BinarySI
	if name == pidResource || name == inodesResource {
		format = resource.DecimalSI
	}
	fmt.Fprintf(&b, "Threshold quantity: %s, available: %s. ", resource.NewQuantity(t.at(o), format), shorter(resource.NewQuantity(o.Available, format)))
	if name == inodesResource || name == pidResource {
		return b.String()
	}
	for _, c := range slices.Concat(u.Pod.Spec.InitContainers, u.Pod.Spec.Containers) {
		used := u.ContainerMemory[c.Name]
		if name == corev1.ResourceEphemeralStorage {
			used = u.ContainerDisk[c.Name]
		}
		asked := c.Resources.Requests[name]
		if used > asked.Value() {
			q := "0"
			if !asked.IsZero() {
				q = asked.String()
			}
			fmt.Fprintf(&b, "Container %s was using %s, request is %s, has larger consumption of %s. ", c.Name, shorter(resource.NewQuantity(used, resource.BinarySI)), q, name)
		}
	}
	return b.String()
}

// shorter writes bytes in Ki: nobody reads more digits.
func shorter(q *resource.Quantity) *resource.Quantity {
	const kilo = 1 << 10
	if q.Format == resource.BinarySI && q.Value() > kilo {
		return resource.NewQuantity(q.Value()/kilo*kilo, resource.BinarySI)
	}
	return q
}

// OverLimit says why a pod that uses more local storage than it may is
// evicted, and which limit that is; empty if it doesn't.
func OverLimit(u *Use) (Signal, string) {
	for i := range u.Pod.Spec.Volumes {
		v := &u.Pod.Spec.Volumes[i]
		if v.EmptyDir == nil || v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.Sign() <= 0 {
			continue
		}
		if u.EmptyDirs[v.Name] > v.EmptyDir.SizeLimit.Value() {
			return EmptyDirLimit, fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", v.Name, v.EmptyDir.SizeLimit)
		}
	}
	for _, c := range lasting(u.Pod) {
		q, ok := c.Resources.Limits[corev1.ResourceEphemeralStorage]
		if ok && u.ContainerDisk[c.Name] > q.Value() {
			return ContainerLimit, fmt.Sprintf("Container %s exceeded its local ephemeral storage limit %q. ", c.Name, &q)
		}
	}
	// The limits that there are bound the pod, even if some container has none.
	if total, ok := cgroup.Limits(u.Pod)[corev1.ResourceEphemeralStorage]; ok && u.Disk > total.Value() {
		return PodLimit, fmt.Sprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s. ", &total)
	}
	return "", ""
}

// lasting are the containers that run for as long as the pod does.
func lasting(pod *corev1.Pod) []corev1.Container {
	sidecars := slices.DeleteFunc(slices.Clone(pod.Spec.InitContainers), func(c corev1.Container) bool {
		return c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways
	})
	return append(sidecars, pod.Spec.Containers...)
}

// Limited reports whether a pod's use of local storage is bounded.
func Limited(pod *corev1.Pod) bool {
	_, ok := cgroup.Limits(pod)[corev1.ResourceEphemeralStorage]
	return ok || slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.EmptyDir != nil && v.EmptyDir.SizeLimit != nil })
}
