package core

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// IsSidecar says that an init container keeps running beside the containers.
func IsSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// ContainerRequests is what the containers of a pod ask for together: the
// larger, per resource, of the running containers' sum and of each init
// container beside the sidecars started before it.
func ContainerRequests(s *corev1.PodSpec) corev1.ResourceList {
	return sumContainers(s, func(c *corev1.Container) corev1.ResourceList { return c.Resources.Requests })
}

// ContainerLimits is ContainerRequests for limits.
func ContainerLimits(s *corev1.PodSpec) corev1.ResourceList {
	return sumContainers(s, func(c *corev1.Container) corev1.ResourceList { return c.Resources.Limits })
}

func sumContainers(s *corev1.PodSpec, of func(*corev1.Container) corev1.ResourceList) corev1.ResourceList {
	running, peak, sidecars := corev1.ResourceList{}, corev1.ResourceList{}, corev1.ResourceList{}
	for i := range s.Containers {
		addResources(running, of(&s.Containers[i]))
	}
	for i := range s.InitContainers {
		c := &s.InitContainers[i]
		if IsSidecar(c) {
			addResources(running, of(c))
			addResources(sidecars, of(c))
			maxResources(peak, sidecars)
			continue
		}
		during := sidecars.DeepCopy()
		addResources(during, of(c))
		maxResources(peak, during)
	}
	maxResources(running, peak)
	return running
}

func addResources(to, more corev1.ResourceList) {
	for name, q := range more {
		sum := to[name].DeepCopy()
		sum.Add(q)
		to[name] = sum
	}
}

func maxResources(to, other corev1.ResourceList) {
	for name, q := range other {
		if have, ok := to[name]; !ok || q.Cmp(have) > 0 {
			to[name] = q.DeepCopy()
		}
	}
}

func isHugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// podLevelResource says which resources a pod may state as a whole.
func podLevelResource(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceMemory || isHugePages(name)
}

// defaultPodResources completes resources stated for the whole pod: requests
// from the containers' sum, else from the pod's own limits. Huge pages cannot
// be overcommitted, so their limits come from the containers' too.
func defaultPodResources(s *corev1.PodSpec) {
	r := s.Resources
	if r == nil {
		return
	}
	for name, q := range ContainerLimits(s) {
		if _, ok := r.Limits[name]; ok || !isHugePages(name) {
			continue
		}
		if r.Limits == nil {
			r.Limits = corev1.ResourceList{}
		}
		r.Limits[name] = q
	}
	requests := r.Requests
	if requests == nil {
		requests = corev1.ResourceList{}
	}
	for _, from := range []corev1.ResourceList{ContainerRequests(s), r.Limits} {
		for name, q := range from {
			if _, ok := requests[name]; !ok && podLevelResource(name) {
				requests[name] = q.DeepCopy()
			}
		}
	}
	if len(requests) > 0 {
		r.Requests = requests
	}
}
