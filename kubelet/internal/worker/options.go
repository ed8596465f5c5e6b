// Package worker brings pods to what they should be and keeps them there: a
// goroutine for each pod observes, plans, acts and reports, whenever there is
// news. Pods owns the workers; nothing else starts or ends one.
package worker

import (
	"context"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/device"
	"xebec.dev/kubelet/internal/env"
	"xebec.dev/kubelet/internal/image"
	"xebec.dev/kubelet/internal/lifecycle"
	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/probe"
	"xebec.dev/kubelet/internal/runtime"
)

// Volumes of pods; *volume.Manager is one.
type Volumes interface {
	Setup(ctx context.Context, pod *corev1.Pod) error
	Mounts(ctx context.Context, pod *corev1.Pod, c *corev1.Container, vars []env.Variable) ([]*runtimeapi.Mount, []*runtimeapi.Device, error)
	Teardown(ctx context.Context, uid types.UID) error
	Remove(ctx context.Context, uid types.UID) error
}

// Cgroups of pods.
type Cgroups interface {
	// EnsurePod makes the pod's group and gives the parent for its sandbox.
	EnsurePod(pod *corev1.Pod) (parent string, err error)
	// Change is what the pod's group needs to be as the pod asks; GrowPod gives
	// it what becomes more, ShrinkPod takes what becomes less.
	Change(pod *corev1.Pod) (cgroup.Change, error)
	GrowPod(pod *corev1.Pod) error
	ShrinkPod(pod *corev1.Pod) error
	// MemoryInUse by the pod, or by the container of an id, in bytes.
	MemoryInUse(pod *corev1.Pod, container string) (int64, error)
	RemovePod(uid types.UID) error
	// Resources of a container.
	Resources(pod *corev1.Pod, c *corev1.Container) *runtimeapi.LinuxContainerResources
	// PodResources and PodOverhead are for the sandbox.
	PodResources(pod *corev1.Pod) (resources, overhead *runtimeapi.LinuxContainerResources)
}

// Node is what workers know of the node they are on.
type Node interface {
	Object() *corev1.Node
	// IPs of the node, the primary one first.
	IPs() []string
	// NetworkReady is why pods can't have a network yet, nil if they can.
	NetworkReady() error
}

// Statuses takes what pods are like; *status.Manager is one.
type Statuses interface {
	Set(pod *corev1.Pod, s *corev1.PodStatus)
	// Delete removes a pod from the API once its status there is final.
	Delete(pod *corev1.Pod)
	// Over reports that the API has a pod as over, with its newest status.
	Over(uid types.UID) bool
	Forget(uid types.UID)
}

// Events tells people what happens to a pod; container may be empty.
type Events func(pod *corev1.Pod, container, kind, reason, message string)

// Options of Pods. All but what is marked is needed.
type Options struct {
	Runtime  *runtime.Client
	Images   *image.Puller
	Volumes  Volumes
	Cgroups  Cgroups
	Node     Node
	Statuses Statuses
	Events   Events
	Hooks    lifecycle.Runner
	// Environment is a container's, with the texts of warnings.
	Environment func(ctx context.Context, pod *corev1.Pod, c *corev1.Container, ips []string) (vars []env.Variable, warnings []string, err error)
	// Secrets are the pod's for pulling images, and the names of those that
	// are not there.
	Secrets func(ctx context.Context, pod *corev1.Pod) (have []*corev1.Secret, missing []string)
	// Handler is the runtime's for a pod's class.
	Handler func(ctx context.Context, pod *corev1.Pod) (string, error)
	// Admit refuses pods that the node can't take beside those that are there,
	// of which some are going.
	Admit func(pod *corev1.Pod, others []*corev1.Pod, going map[types.UID]Going) Decision
	// Preempted is told of each pod that is ended to make room, with the
	// resource that was short. It may be nil.
	Preempted func(resource string)
	// Devices are what a container that is about to start needs to use those
	// that the pod was given. It may be nil.
	Devices func(ctx context.Context, pod types.UID, container string) (*device.Given, error)
	// Resize decides about new resources of a pod that is here: a reason that
	// is empty grants them. It may be nil.
	Resize func(pod *corev1.Pod, others []*corev1.Pod) (reason, message string)
	// Users is the range of users of a pod with its own, nil for others.
	Users func(ctx context.Context, pod *corev1.Pod) (*runtimeapi.UserNamespace, error)
	// Lacks reports that the runtime has nothing of a pod that no worker has
	// begun; it may be nil.
	Lacks func(uid types.UID) bool
	// Forgotten is told when nothing of a pod is left.
	Forgotten func(uid types.UID, key runtime.Key)
	// Watched pods are told to those who keep what they refer to.
	Watched func(pod *corev1.Pod)
	Started func(pod *corev1.Pod, took time.Duration)
	// Worked is told how long a round took and what it was: create, sync or
	// kill. Ran is told of each attempt to start a container of a kind, or a
	// sandbox, with the reason of one that failed. Each may be nil.
	Worked func(what string, took time.Duration)
	Ran    func(pod *corev1.Pod, kind, failure string)
	// Rejected is told why a pod was refused. It may be nil.
	Rejected func(reason string)

	RuntimeName string // "containerd"
	RootDir     string
	PodLogs     string
	LegacyLogs  string // directory of links to logs; empty is none
	DNS         runtime.DNSOptions
	Seccomp     runtime.SeccompOptions
	Sysctls     map[string]string
	Limits      plan.Limits
	Log         *zap.Logger

	probes *probe.Manager
}

// Decision about a pod that is new: refused, or to wait until there is room,
// for which victims are ended; or else taken.
type Decision struct {
	Refusal *Refusal
	Wait    bool
	Victims []*corev1.Pod
	Short   string // the resource for which they are
}

// Refusal is why a node does not take a pod.
type Refusal struct{ Reason, Message string }
