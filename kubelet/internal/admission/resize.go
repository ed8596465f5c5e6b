package admission

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/cgroup"
)

// Resize decides about new resources of a pod that the node has: the reason is
// empty for those it can give now, Deferred for those it could give if others
// had less, Infeasible for those it never can.
func Resize(in Input) (reason, message string) {
	want := cgroup.Requests(in.Pod)
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		asked, have := amount(name, want[name]), amount(name, in.Node.Status.Allocatable[name])
		if asked > have {
			return corev1.PodReasonInfeasible, fmt.Sprintf("Node didn't have enough capacity: %s, requested: %d, capacity: %d", name, asked, have)
		}
	}
	in.Others = slices.DeleteFunc(slices.Clone(in.Others), func(p *corev1.Pod) bool { return p.UID == in.Pod.UID })
	if r := fits(in); r != nil {
		return corev1.PodReasonDeferred, r.Message
	}
	return "", ""
}
