package resourcequota

import (
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// stated are the names for which every container must say what it takes when
// a quota limits them: nothing stated would be nothing charged.
var stated = []corev1.ResourceName{
	corev1.ResourceCPU, corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory,
	corev1.ResourceMemory, corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
}

// mustSpecify says which containers leave out what a quota wants stated.
func mustSpecify(hard []corev1.ResourceName, obj runtime.Object) error {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	var parts []string
	for _, name := range stated {
		if !slices.Contains(hard, name) {
			continue
		}
		if who := silent(pod, name); len(who) > 0 {
			parts = append(parts, string(name)+" for: "+strings.Join(who, ","))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	slices.Sort(parts)
	return errors.New("must specify " + strings.Join(parts, "; "))
}

// silent are the names of the containers that do not state the resource. A
// pod that states it as a whole speaks for them.
func silent(pod *corev1.Pod, name corev1.ResourceName) []string {
	if r := pod.Spec.Resources; r != nil && states(r, name) {
		return nil
	}
	var out []string
	for _, list := range [2][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if !states(&list[i].Resources, name) {
				out = append(out, list[i].Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func states(r *corev1.ResourceRequirements, name corev1.ResourceName) bool {
	list := r.Requests
	if limit, ok := strings.CutPrefix(string(name), "limits."); ok {
		list, name = r.Limits, corev1.ResourceName(limit)
	}
	name = corev1.ResourceName(strings.TrimPrefix(string(name), corev1.DefaultResourceRequestsPrefix))
	_, ok := list[name]
	return ok
}
