package cgroup

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/api/core"
)

// QOS is the pod's class of service: the one in its status, which never
// changes, or what its resources say.
func QOS(pod *corev1.Pod) corev1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	return core.PodQOS(&pod.Spec)
}

func sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// Requests are what a pod asks for as a whole.
func Requests(pod *corev1.Pod) corev1.ResourceList {
	out := aggregate(pod, func(r *corev1.ResourceRequirements) corev1.ResourceList { return r.Requests })
	if pod.Spec.Resources != nil {
		set(out, pod.Spec.Resources.Requests)
	}
	addTo(out, pod.Spec.Overhead)
	return out
}

// Limits are what a pod may use as a whole, as far as its containers have
// limits. Overhead is added to limits that there are.
func Limits(pod *corev1.Pod) corev1.ResourceList {
	out := aggregate(pod, func(r *corev1.ResourceRequirements) corev1.ResourceList { return r.Limits })
	if pod.Spec.Resources != nil {
		set(out, pod.Spec.Resources.Limits)
	}
	for name, q := range pod.Spec.Overhead {
		if have, ok := out[name]; ok && !have.IsZero() {
			have.Add(q)
			out[name] = have
		}
	}
	return out
}

// aggregate is the most that is needed at one time: all containers with all
// sidecars, or an init container with the sidecars before it.
func aggregate(pod *corev1.Pod, of func(*corev1.ResourceRequirements) corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := range pod.Spec.Containers {
		addTo(out, of(&pod.Spec.Containers[i].Resources))
	}
	sidecars, most := corev1.ResourceList{}, corev1.ResourceList{}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if sidecar(c) {
			addTo(sidecars, of(&c.Resources))
			raise(most, sidecars)
			continue
		}
		now := sidecars.DeepCopy()
		if now == nil {
			now = corev1.ResourceList{}
		}
		addTo(now, of(&c.Resources))
		raise(most, now)
	}
	addTo(out, sidecars)
	raise(out, most)
	return out
}

func addTo(to, list corev1.ResourceList) {
	for name, q := range list {
		have := to[name]
		have.Add(q)
		to[name] = have
	}
}

func raise(to, list corev1.ResourceList) {
	for name, q := range list {
		if have, ok := to[name]; !ok || have.Cmp(q) < 0 {
			to[name] = q.DeepCopy()
		}
	}
}

func set(to, list corev1.ResourceList) {
	for name, q := range list {
		to[name] = q.DeepCopy()
	}
}

// declared reports whether every container has a limit of the resource, or
// the pod has.
func declared(pod *corev1.Pod, name corev1.ResourceName) bool {
	has := func(r *corev1.ResourceRequirements) bool {
		q, ok := r.Limits[name]
		return ok && !q.IsZero()
	}
	if pod.Spec.Resources != nil && has(pod.Spec.Resources) {
		return true
	}
	for i := range pod.Spec.InitContainers {
		if !has(&pod.Spec.InitContainers[i].Resources) {
			return false
		}
	}
	for i := range pod.Spec.Containers {
		if !has(&pod.Spec.Containers[i].Resources) {
			return false
		}
	}
	return true
}

func milli(q resource.Quantity) int64 { return q.MilliValue() }
