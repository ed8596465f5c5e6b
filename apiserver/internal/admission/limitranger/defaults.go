package limitranger

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// annotation tells which resources were set. Of several limit ranges that set
// some, the last one's text stays.
const annotation = "kubernetes.io/limit-ranger"

func setDefaults(pod *corev1.Pod, r *corev1.LimitRange) {
	limits, requests := defaults(r)
	if len(limits) == 0 && len(requests) == 0 {
		return
	}
	var set []string
	for i := range pod.Spec.Containers {
		set = append(set, setContainer("container", &pod.Spec.Containers[i], limits, requests)...)
	}
	for i := range pod.Spec.InitContainers {
		set = append(set, setContainer("init container", &pod.Spec.InitContainers[i], limits, requests)...)
	}
	if len(set) == 0 {
		return
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[annotation] = "LimitRanger plugin set: " + strings.Join(set, "; ")
}

// defaults are those of the items for containers; a later item's count.
func defaults(r *corev1.LimitRange) (limits, requests corev1.ResourceList) {
	for i := range r.Spec.Limits {
		item := &r.Spec.Limits[i]
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		limits = overlay(limits, item.Default)
		requests = overlay(requests, item.DefaultRequest)
	}
	return limits, requests
}

func overlay(base, more corev1.ResourceList) corev1.ResourceList {
	if len(base) == 0 {
		return more
	}
	if len(more) == 0 {
		return base
	}
	out := base.DeepCopy()
	for name, q := range more {
		out[name] = q
	}
	return out
}

func setContainer(kind string, c *corev1.Container, limits, requests corev1.ResourceList) []string {
	var set []string
	if names := fill(&c.Resources.Requests, requests); len(names) > 0 {
		set = append(set, strings.Join(names, ", ")+" request for "+kind+" "+c.Name)
	}
	if names := fill(&c.Resources.Limits, limits); len(names) > 0 {
		set = append(set, strings.Join(names, ", ")+" limit for "+kind+" "+c.Name)
	}
	return set
}

// fill adds what is missing and names it.
func fill(to *corev1.ResourceList, from corev1.ResourceList) []string {
	var names []string
	for name, q := range from {
		if _, ok := (*to)[name]; ok {
			continue
		}
		if *to == nil {
			*to = corev1.ResourceList{}
		}
		(*to)[name] = q.DeepCopy()
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names
}
