// Package cgroup has the control groups of the node: one for all pods, one
// for each class of service, one for each pod, as Kubernetes lays them out,
// in the first and the second version of the kernel's interface. It also
// says what resources a container gets, and reads what is used.
package cgroup

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Drivers: who makes the groups' directories, and so how they are called.
const (
	Cgroupfs = "cgroupfs"
	Systemd  = "systemd"
)

// Options of a manager; the zero value works.
type Options struct {
	// Root is the group below which all pods' are (--cgroup-root); "" is /.
	Root string
	// Driver is Cgroupfs (the default) or Systemd. It must be the runtime's.
	Driver string
	// NoQOS puts pods' groups directly below Root (cgroupsPerQOS: false).
	NoQOS bool
	// PodPIDs bounds the processes of a pod; 0 or less is no bound.
	PodPIDs int64
	// NoCPUQuota leaves CPU limits unenforced (cpuCFSQuota: false).
	NoCPUQuota bool
	// CPUPeriod is the period of CPU limits; 0 is 100 ms.
	CPUPeriod time.Duration
	// Enforce bounds all pods together by Allocatable (enforceNodeAllocatable
	// has pods).
	Enforce bool
	// Allocatable is what all pods may use together: the node's capacity
	// less what is reserved, but not less the eviction threshold.
	Allocatable corev1.ResourceList
	// PageSizes are the kernel's names (2MB) of the sizes of huge pages that
	// are bounded; New finds them.
	PageSizes []string
	// Mount is where the kernel's interface is mounted; "" is /sys/fs/cgroup.
	Mount string
}
