// Package server is the kubelet's HTTPS endpoint: logs, exec, attach and
// port-forward for the API server, metrics and statistics, all behind
// authentication and authorization; and the plain health endpoint.
package server

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pods is what the server needs of the kubelet's other parts.
type Pods interface {
	// List is every pod of this node, with its status; objects are shared.
	List() []*corev1.Pod
	// Running is every pod that the runtime has, made up from what it says.
	Running(ctx context.Context) ([]*corev1.Pod, error)
	// Pod finds a pod by its namespace and name, static ones by their own.
	Pod(namespace, name string) (*corev1.Pod, bool)
	// Container finds a container of the pod in the runtime: the newest, or
	// the one before that. found is false when there is none.
	Container(ctx context.Context, pod *corev1.Pod, name string, previous bool) (c Container, found bool, err error)
	// Sandbox is the id of the pod's ready sandbox.
	Sandbox(ctx context.Context, pod *corev1.Pod) (id string, err error)
	// Runtime is the connection to the container runtime.
	Runtime() runtimeapi.RuntimeServiceClient
}

// Container is one in the runtime.
type Container struct {
	ID string
	// LogPath is the file of its log.
	LogPath string
	// Running is whether more can be written to its log.
	Running bool
}
