package volume

import (
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func (m *Manager) setupEmptyDir(pod *corev1.Pod, v *corev1.Volume) error {
	dir := m.dir(pod.UID, pluginEmptyDir, v.Name)
	var fresh bool
	switch medium := v.EmptyDir.Medium; medium {
	case corev1.StorageMediumDefault:
		if _, err := os.Lstat(dir); err != nil {
			fresh = true
		}
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
	case corev1.StorageMediumMemory:
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		on, err := isMount(dir)
		if err != nil {
			return err
		}
		if !on {
			fresh = true
			if err := tmpfs(dir, m.memoryBound(pod, v.EmptyDir.SizeLimit)); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("the medium %q of an emptyDir is not supported by this kubelet: use %q or none", medium, corev1.StorageMediumMemory)
	}
	if !fresh {
		// Containers own it by now; but a process that ended half-way has
		// not given it to them.
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o007 != 0 {
			return err
		}
	}
	return settleEmpty(dir, fsGroup(pod))
}

// settleEmpty gives an empty directory to everybody, and to the group.
func settleEmpty(dir string, group *int64) error {
	mode := os.FileMode(0o777)
	if group != nil {
		if err := os.Chown(dir, -1, int(*group)); err != nil {
			return err
		}
		mode |= os.ModeSetgid
	}
	return os.Chmod(dir, mode)
}

// memoryBound is how large a volume in memory may become, in bytes: its own
// limit, what the pod's containers may use together, or else what the node
// has for pods. 0 is unknown.
func (m *Manager) memoryBound(pod *corev1.Pod, limit *resource.Quantity) int64 {
	var bound int64
	lower := func(n int64) {
		if n > 0 && (bound == 0 || n < bound) {
			bound = n
		}
	}
	if n := m.o.NodeObject(); n != nil {
		lower(n.Status.Allocatable.Memory().Value())
	}
	lower(podMemoryLimit(pod))
	if limit != nil {
		lower(limit.Value())
	}
	return bound
}

// podMemoryLimit is 0 when a container has no limit.
func podMemoryLimit(pod *corev1.Pod) int64 {
	if r := pod.Spec.Resources; r != nil {
		if q, ok := r.Limits[corev1.ResourceMemory]; ok {
			return q.Value()
		}
	}
	var together, largest, sidecars int64
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		q, ok := c.Resources.Limits[corev1.ResourceMemory]
		if !ok {
			return 0
		}
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sidecars += q.Value()
			largest = max(largest, sidecars)
			continue
		}
		largest = max(largest, sidecars+q.Value())
	}
	for i := range pod.Spec.Containers {
		q, ok := pod.Spec.Containers[i].Resources.Limits[corev1.ResourceMemory]
		if !ok {
			return 0
		}
		together += q.Value()
	}
	return max(largest, together+sidecars)
}
