// Package admission decides whether the node takes a pod beside those that it
// has. It is pure: what the scheduler saw may have changed since.
package admission

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/eviction"
	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/worker"
)

// Input of a decision.
type Input struct {
	Pod    *corev1.Pod
	Others []*corev1.Pod
	// Going says which of the others are being ended already.
	Going map[types.UID]worker.Going
	Node  *corev1.Node
	// Pressures under which the node is.
	Pressures eviction.Pressures
	// UnsafeSysctls are patterns that the node allows, as kernel.msg*.
	UnsafeSysctls []string
	// AppArmor: the kernel confines with profiles.
	AppArmor bool
}

// Decide gives the reason against a pod, or what has to go before it is
// taken; neither is a pod that is taken.
func Decide(in Input) worker.Decision {
	for _, check := range []func(Input) *worker.Refusal{pressure, sysctls, operatingSystem, room, matches, ports, appArmor} {
		if r := check(in); r != nil {
			return worker.Decision{Refusal: r}
		}
	}
	return preempt(in)
}

// pressure keeps new pods away from a node that is ending old ones.
func pressure(in Input) *worker.Refusal {
	p := in.Pressures
	if !p.Memory && !p.Disk && !p.PIDs || eviction.Critical(in.Pod) {
		return nil
	}
	if p.Memory && !p.Disk && !p.PIDs {
		if cgroup.QOS(in.Pod) != corev1.PodQOSBestEffort || tolerates(in.Pod, corev1.TaintNodeMemoryPressure) {
			return nil
		}
	}
	var names []corev1.NodeConditionType
	for _, c := range []struct {
		on   bool
		name corev1.NodeConditionType
	}{{p.Memory, corev1.NodeMemoryPressure}, {p.Disk, corev1.NodeDiskPressure}, {p.PIDs, corev1.NodePIDPressure}} {
		if c.on {
			names = append(names, c.name)
		}
	}
	return &worker.Refusal{Reason: "Evicted", Message: fmt.Sprintf("The node had condition: %v. ", names)}
}

func tolerates(pod *corev1.Pod, key string) bool {
	return slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool {
		return (t.Effect == "" || t.Effect == corev1.TaintEffectNoSchedule) && (t.Key == key || t.Key == "" && t.Operator == corev1.TolerationOpExists)
	})
}

func operatingSystem(in Input) *worker.Refusal {
	if os := in.Pod.Spec.OS; os != nil && os.Name != corev1.Linux {
		return &worker.Refusal{Reason: "PodOSNotSupported", Message: "Failed to admit pod as the OS field doesn't match node OS"}
	}
	want, ok := in.Pod.Spec.NodeSelector[corev1.LabelOSStable]
	if have := in.Node.Labels[corev1.LabelOSStable]; ok && have != "" && want != have {
		return &worker.Refusal{Reason: "PodOSSelectorNodeLabelDoesNotMatch", Message: "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"}
	}
	return nil
}

// room refuses what does not fit. For critical pods it is made instead.
func room(in Input) *worker.Refusal {
	if eviction.Critical(in.Pod) {
		return nil
	}
	return fits(in)
}

// fits compares what is asked for with what is left.
func fits(in Input) *worker.Refusal {
	for _, s := range shortages(in) {
		return &worker.Refusal{Reason: "OutOf" + string(s.name), Message: tooLittle(s.name, s.asked, s.used, s.have)}
	}
	return nil
}

// shortage is what a pod asks for and the node has not, in amounts.
type shortage struct {
	name              corev1.ResourceName
	asked, used, have int64
}

// lacks is how much more there would have to be.
func (s shortage) lacks() int64 { return s.asked + s.used - s.have }

// shortages are all there are, in Kubernetes' order: people are told of the
// first.
func shortages(in Input) []shortage {
	allocatable := in.Node.Status.Allocatable
	var out []shortage
	if most, ok := allocatable[corev1.ResourcePods]; ok && int64(len(in.Others))+1 > most.Value() {
		out = append(out, shortage{corev1.ResourcePods, 1, int64(len(in.Others)), most.Value()})
	}
	asked := cgroup.Requests(in.Pod)
	for _, name := range slices.SortedFunc(maps.Keys(asked), inOrder) {
		s := shortage{name: name, asked: amount(name, asked[name]), have: amount(name, allocatable[name])}
		if _, known := allocatable[name]; s.asked == 0 || !known && extended(name) {
			continue // what no node has is a cluster's own affair
		}
		for _, o := range in.Others {
			s.used += share(o, name)
		}
		if s.lacks() > 0 {
			out = append(out, s)
		}
	}
	return out
}

// inOrder has what every node has before the rest.
func inOrder(a, b corev1.ResourceName) int {
	rank := func(name corev1.ResourceName) int {
		common := []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}
		if i := slices.Index(common, name); i >= 0 {
			return i
		}
		return len(common)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// share is how much of a resource a pod has for itself.
func share(pod *corev1.Pod, name corev1.ResourceName) int64 {
	if name == corev1.ResourcePods {
		return 1
	}
	return amount(name, cgroup.Requests(pod)[name])
}

// amount is in thousandths of a CPU, and in units of the rest.
func amount(name corev1.ResourceName, q resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func tooLittle(name corev1.ResourceName, asked, used, capacity int64) string {
	return fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, asked, used, capacity)
}

// ports finds a port of the host that is taken.
func ports(in Input) *worker.Refusal {
	for _, o := range in.Others {
		for _, p := range hostPorts(in.Pod) {
			if slices.ContainsFunc(hostPorts(o), p.clashes) {
				return &worker.Refusal{Reason: "NodePorts", Message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"}
			}
		}
	}
	return nil
}

type hostPort struct {
	ip       string
	port     int32
	protocol corev1.Protocol
}

func (p hostPort) clashes(o hostPort) bool {
	everywhere := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	return p.port == o.port && p.protocol == o.protocol && (p.ip == o.ip || everywhere(p.ip) || everywhere(o.ip))
}

func hostPorts(pod *corev1.Pod) []hostPort {
	var out []hostPort
	add := func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.HostPort > 0 {
				out = append(out, hostPort{p.HostIP, p.HostPort, p.Protocol})
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		if plan.IsSidecar(&pod.Spec.InitContainers[i]) {
			add(&pod.Spec.InitContainers[i])
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	return out
}

// extended resources have a domain that is not Kubernetes'.
func extended(name corev1.ResourceName) bool {
	domain, _, ok := strings.Cut(string(name), "/")
	return ok && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io")
}

// appArmor refuses a profile that nothing would enforce.
func appArmor(in Input) *worker.Refusal {
	if in.AppArmor {
		return nil
	}
	confined := func(p *corev1.AppArmorProfile) bool {
		return p != nil && p.Type != corev1.AppArmorProfileTypeUnconfined
	}
	asks := in.Pod.Spec.SecurityContext != nil && confined(in.Pod.Spec.SecurityContext.AppArmorProfile)
	own := func(s *corev1.SecurityContext) { asks = asks || s != nil && confined(s.AppArmorProfile) }
	for i := range in.Pod.Spec.InitContainers {
		own(in.Pod.Spec.InitContainers[i].SecurityContext)
	}
	for i := range in.Pod.Spec.Containers {
		own(in.Pod.Spec.Containers[i].SecurityContext)
	}
	if !asks {
		return nil
	}
	return &worker.Refusal{Reason: "AppArmor", Message: "Cannot enforce AppArmor: AppArmor is not enabled on the host"}
}
