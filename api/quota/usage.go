// Package quota is what resource quotas count: what an object takes, and
// whether a quota is about it. The API server charges by it before an object is
// stored, the controller manager counts by it what is there.
package quota

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/core"
)

// Amounts are quantities by resource name, as quotas count them.
type Amounts = corev1.ResourceList

// CountPrefix is that of names that count objects of a resource.
const CountPrefix = "count/"

// plain are the resources that quotas also count by their bare name.
var plain = map[string]bool{
	"pods": true, "services": true, "replicationcontrollers": true, "resourcequotas": true,
	"secrets": true, "configmaps": true, "persistentvolumeclaims": true,
}

func one() resource.Quantity { return *resource.NewQuantity(1, resource.DecimalSI) }

func count(n int64) resource.Quantity { return *resource.NewQuantity(n, resource.DecimalSI) }

// Add puts more onto the amount of a name.
func Add(to Amounts, name corev1.ResourceName, more resource.Quantity) {
	sum, ok := to[name]
	if !ok {
		to[name] = more.DeepCopy()
		return
	}
	sum = sum.DeepCopy()
	sum.Add(more)
	to[name] = sum
}

// Counts are the names by which quotas count objects of a resource.
func Counts(group, plural string) []corev1.ResourceName {
	if group != "" {
		return []corev1.ResourceName{corev1.ResourceName(CountPrefix + plural + "." + group)}
	}
	if plain[plural] {
		return []corev1.ResourceName{corev1.ResourceName(CountPrefix + plural), corev1.ResourceName(plural)}
	}
	return []corev1.ResourceName{corev1.ResourceName(CountPrefix + plural)}
}

// Usage is what an object of a resource takes.
func Usage(group, plural string, obj runtime.Object) Amounts {
	out := make(Amounts, 8)
	for _, name := range Counts(group, plural) {
		out[name] = one()
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		podUsage(out, o)
	case *corev1.Service:
		serviceUsage(out, &o.Spec)
	case *corev1.PersistentVolumeClaim:
		claimUsage(out, o)
	case *resourcev1.ResourceClaim:
		deviceUsage(out, &o.Spec)
	}
	return out
}

func serviceUsage(out Amounts, s *corev1.ServiceSpec) {
	ports := int64(0)
	switch s.Type {
	case corev1.ServiceTypeNodePort:
		ports = int64(len(s.Ports))
	case corev1.ServiceTypeLoadBalancer:
		out[corev1.ResourceServicesLoadBalancers] = one()
		ports = int64(len(s.Ports))
		if s.AllocateLoadBalancerNodePorts != nil && !*s.AllocateLoadBalancerNodePorts {
			// Only those that were asked for by number.
			ports = 0
			for i := range s.Ports {
				if s.Ports[i].NodePort != 0 {
					ports++
				}
			}
		}
	}
	if ports > 0 {
		out[corev1.ResourceServicesNodePorts] = count(ports)
	}
}

// Suffixes of the names that count by storage class and device class.
const (
	classStorage = ".storageclass.storage.k8s.io/requests.storage"
	classClaims  = ".storageclass.storage.k8s.io/persistentvolumeclaims"
	classDevices = ".deviceclass.resource.k8s.io/devices"
)

func claimUsage(out Amounts, c *corev1.PersistentVolumeClaim) {
	class := ""
	if c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	if beta, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		class = beta
	}
	if class != "" {
		out[corev1.ResourceName(class+classClaims)] = one()
	}
	storage, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if !ok {
		return
	}
	// A shrink that is not done yet still holds what was allocated.
	if held, ok := c.Status.AllocatedResources[corev1.ResourceStorage]; ok && held.Cmp(storage) > 0 {
		storage = held
	}
	storage = storage.DeepCopy()
	storage.RoundUp(0)
	out[corev1.ResourceRequestsStorage] = storage
	if class != "" {
		out[corev1.ResourceName(class+classStorage)] = storage
	}
}

// deviceUsage counts the most devices each class may be asked for.
func deviceUsage(out Amounts, s *resourcev1.ResourceClaimSpec) {
	for i := range s.Devices.Requests {
		r := &s.Devices.Requests[i]
		if r.Exactly != nil {
			Add(out, corev1.ResourceName(r.Exactly.DeviceClassName+classDevices), count(devices(r.Exactly.AllocationMode, r.Exactly.Count)))
		}
		most := map[string]int64{}
		for j := range r.FirstAvailable {
			sub := &r.FirstAvailable[j]
			most[sub.DeviceClassName] = max(most[sub.DeviceClassName], devices(sub.AllocationMode, sub.Count))
		}
		for class, n := range most {
			Add(out, corev1.ResourceName(class+classDevices), count(n))
		}
	}
}

func devices(mode resourcev1.DeviceAllocationMode, n int64) int64 {
	if mode == resourcev1.DeviceAllocationModeAll {
		return resourcev1.AllocationResultsMaxSize
	}
	return n
}

// podUsage adds what a pod computes with, as long as it can run.
func podUsage(out Amounts, pod *corev1.Pod) {
	if pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		delete(out, corev1.ResourcePods)
		return
	}
	requests, limits := podRequests(pod), podLimits(pod)
	for name, q := range requests {
		switch {
		case name == corev1.ResourceCPU, name == corev1.ResourceMemory, name == corev1.ResourceEphemeralStorage, strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
			out[name] = q
			out[corev1.DefaultResourceRequestsPrefix+name] = q
		case extended(name):
			out[corev1.DefaultResourceRequestsPrefix+name] = q
		}
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if q, ok := limits[name]; ok {
			out["limits."+name] = q
		}
	}
}

// extended resources are those of vendors' domains.
func extended(name corev1.ResourceName) bool {
	return strings.Contains(string(name), "/") && !strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// podRequests is what the pod asks for with its overhead; while a resize is
// under way, the larger of what is asked, allocated and used.
func podRequests(pod *corev1.Pod) Amounts {
	spec := &pod.Spec
	if held := heldContainers(pod); held != nil {
		spec = held
	}
	requests := core.ContainerRequests(spec)
	if r := pod.Spec.Resources; r != nil {
		for name, q := range r.Requests {
			requests[name] = q
		}
	}
	for name, q := range pod.Spec.Overhead {
		Add(requests, name, q)
	}
	return requests
}

// heldContainers is the spec with the containers' requests raised to what the
// node still holds for them; nil when nothing is raised.
func heldContainers(pod *corev1.Pod) *corev1.PodSpec {
	var out *corev1.PodSpec
	raise := func(statuses []corev1.ContainerStatus, of func(*corev1.PodSpec) []corev1.Container) {
		for i := range statuses {
			s := &statuses[i]
			for j, c := range of(&pod.Spec) {
				if c.Name != s.Name || !holdsMore(s, c.Resources.Requests) {
					continue
				}
				if out == nil {
					out = pod.Spec.DeepCopy()
				}
				raiseTo(&of(out)[j], s)
			}
		}
	}
	raise(pod.Status.ContainerStatuses, func(s *corev1.PodSpec) []corev1.Container { return s.Containers })
	raise(pod.Status.InitContainerStatuses, func(s *corev1.PodSpec) []corev1.Container { return s.InitContainers })
	return out
}

func holdsMore(s *corev1.ContainerStatus, requests Amounts) bool {
	for _, l := range held(s) {
		for name, q := range l {
			if have, ok := requests[name]; ok && q.Cmp(have) > 0 {
				return true
			}
		}
	}
	return false
}

func raiseTo(c *corev1.Container, s *corev1.ContainerStatus) {
	for _, l := range held(s) {
		for name, q := range l {
			if have, ok := c.Resources.Requests[name]; ok && q.Cmp(have) > 0 {
				c.Resources.Requests[name] = q
			}
		}
	}
}

func held(s *corev1.ContainerStatus) [2]Amounts {
	l := [2]Amounts{s.AllocatedResources}
	if s.Resources != nil {
		l[1] = s.Resources.Requests
	}
	return l
}

func podLimits(pod *corev1.Pod) Amounts {
	limits := core.ContainerLimits(&pod.Spec)
	if r := pod.Spec.Resources; r != nil {
		for name, q := range r.Limits {
			limits[name] = q
		}
	}
	for name, q := range pod.Spec.Overhead {
		if _, ok := limits[name]; ok {
			Add(limits, name, q)
		}
	}
	return limits
}
