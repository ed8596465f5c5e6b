// Package downward turns what a pod may know of itself into text: fields of
// its object and its containers' resources, for environment variables and for
// files. It is pure.
package downward

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Pod is the pod with what only its node knows.
type Pod struct {
	*corev1.Pod
	// IPs of the pod and of its host; empty ones stand for not yet known,
	// and the pod's status is asked instead.
	IPs, HostIPs []string
	// Allocatable stands in for limits that a container does not have.
	Allocatable corev1.ResourceList
}

// Map writes labels or annotations as files show them: sorted, one
// key="value" a line, values escaped as in Go.
func Map(m map[string]string) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	for i, k := range keys {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s=%q", k, m[k])
	}
	return b.String()
}

// Field is the value of a field path. Files may name all but the addresses
// and the node; the API server sees to that.
func Field(p Pod, path string) (string, error) {
	if of, key, ok := subscript(path); ok {
		switch of {
		case "metadata.annotations":
			return p.Annotations[key], nil
		case "metadata.labels":
			return p.Labels[key], nil
		}
		return "", fmt.Errorf("fieldPath %q does not support subscript", of)
	}
	switch path {
	case "metadata.annotations":
		return Map(p.Annotations), nil
	case "metadata.labels":
		return Map(p.Labels), nil
	case "metadata.name":
		return p.Name, nil
	case "metadata.namespace":
		return p.Namespace, nil
	case "metadata.uid":
		return string(p.UID), nil
	case "spec.nodeName":
		return p.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return p.Spec.ServiceAccountName, nil
	case "status.podIP":
		return first(p.podIPs()), nil
	case "status.podIPs":
		return strings.Join(p.podIPs(), ","), nil
	case "status.hostIP":
		return first(p.hostIPs()), nil
	case "status.hostIPs":
		return strings.Join(p.hostIPs(), ","), nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %v", path)
}

// subscript splits path['key'].
func subscript(path string) (of, key string, ok bool) {
	of, rest, ok := strings.Cut(path, "['")
	if !ok {
		return path, "", false
	}
	key, ok = strings.CutSuffix(rest, "']")
	return of, key, ok
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

func (p Pod) podIPs() []string {
	if len(p.IPs) > 0 {
		return p.IPs
	}
	var out []string
	for _, ip := range p.Status.PodIPs {
		out = append(out, ip.IP)
	}
	if len(out) == 0 && p.Status.PodIP != "" {
		out = []string{p.Status.PodIP}
	}
	return out
}

func (p Pod) hostIPs() []string {
	if len(p.HostIPs) > 0 {
		return p.HostIPs
	}
	var out []string
	for _, ip := range p.Status.HostIPs {
		out = append(out, ip.IP)
	}
	if len(out) == 0 && p.Status.HostIP != "" {
		out = []string{p.Status.HostIP}
	}
	return out
}

// Resource is the value of a resource field: what the container asks for or
// may use, in units of the divisor, rounded up. Limits that the container
// does not have are the pod's, or else what the node can allocate. container
// is the one that the reference is in; the reference may name another.
func Resource(p Pod, container string, ref *corev1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" {
		container = ref.ContainerName
	}
	res, ok := resources(p.Pod, container)
	if !ok {
		return "", fmt.Errorf("container %s not found", container)
	}
	kind, name, ok := strings.Cut(ref.Resource, ".")
	if !ok || !known(name) {
		return "", fmt.Errorf("unsupported container resource: %v", ref.Resource)
	}
	var q resource.Quantity
	switch kind {
	case "limits":
		q = p.limit(res, corev1.ResourceName(name))
	case "requests":
		q = res.Requests[corev1.ResourceName(name)]
	default:
		return "", fmt.Errorf("unsupported container resource: %v", ref.Resource)
	}
	return divide(name, q, ref.Divisor), nil
}

func known(name string) bool {
	switch corev1.ResourceName(name) {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return true
	}
	return strings.HasPrefix(name, corev1.ResourceHugePagesPrefix)
}

func (p Pod) limit(res *corev1.ResourceRequirements, name corev1.ResourceName) resource.Quantity {
	if q, ok := res.Limits[name]; ok && !q.IsZero() {
		return q
	}
	if strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
		return resource.Quantity{}
	}
	if p.Spec.Resources != nil {
		if q, ok := p.Spec.Resources.Limits[name]; ok && !q.IsZero() {
			return q
		}
	}
	return p.Allocatable[name]
}

func resources(p *corev1.Pod, container string) (*corev1.ResourceRequirements, bool) {
	for i := range p.Spec.Containers {
		if p.Spec.Containers[i].Name == container {
			return &p.Spec.Containers[i].Resources, true
		}
	}
	for i := range p.Spec.InitContainers {
		if p.Spec.InitContainers[i].Name == container {
			return &p.Spec.InitContainers[i].Resources, true
		}
	}
	for i := range p.Spec.EphemeralContainers {
		if p.Spec.EphemeralContainers[i].Name == container {
			return &p.Spec.EphemeralContainers[i].Resources, true
		}
	}
	return nil, false
}

// divide rounds up: of something, one sees at least one.
func divide(name string, q, divisor resource.Quantity) string {
	if name == string(corev1.ResourceCPU) {
		by := divisor.MilliValue()
		if divisor.IsZero() {
			by = 1000
		}
		return strconv.FormatInt(up(q.MilliValue(), by), 10)
	}
	by := divisor.Value()
	if divisor.IsZero() {
		by = 1
	}
	return strconv.FormatInt(up(q.Value(), by), 10)
}

func up(n, by int64) int64 {
	if by <= 0 {
		return n
	}
	return n/by + min(1, n%by)
}
