package node

import (
	"fmt"
	"maps"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/device"
)

// Facts are what a node's status is made of.
type Facts struct {
	Name         string
	Hostname     string
	IPs          []string
	Host         *Host
	Capacity     corev1.ResourceList
	Reserved     corev1.ResourceList // kept from pods
	Version      string
	Runtime      string // "containerd://2.4.2"
	Port         int32
	Images       []*runtimeapi.Image
	MaxImages    int
	Handlers     []*runtimeapi.RuntimeHandler
	Supplement   bool // the runtime knows policies of supplemental groups
	VolumesInUse []corev1.UniqueVolumeName
	// Devices of device plugins, by resource.
	Devices map[corev1.ResourceName]device.Amount
	// NotReady are the reasons why the node is not ready.
	NotReady []string
	// Pressures that eviction has found.
	Memory, Disk, PIDs bool
	External           bool // addresses are a cloud controller's
	Now                time.Time
}

// Status is the node's status over the one it has: conditions of others stay.
func Status(old *corev1.NodeStatus, f *Facts) *corev1.NodeStatus {
	out := old.DeepCopy()
	if !f.External || len(out.Addresses) == 0 {
		out.Addresses = addresses(f)
	}
	out.Capacity, out.Allocatable = capacity(old.Capacity, f.Capacity), allocatable(f)
	for name, q := range old.Allocatable { // extended resources are others' to set
		if _, own := f.Capacity[name]; !own && strings.Contains(string(name), "/") {
			out.Allocatable[name] = q
		}
	}
	for name, a := range f.Devices {
		out.Capacity[name], out.Allocatable[name] = *resource.NewQuantity(a.Capacity, resource.DecimalSI), *resource.NewQuantity(a.Allocatable, resource.DecimalSI)
	}
	out.DaemonEndpoints.KubeletEndpoint.Port = f.Port
	out.NodeInfo = info(f)
	out.Images = images(f)
	out.RuntimeHandlers = handlers(f.Handlers)
	out.Features = &corev1.NodeFeatures{SupplementalGroupsPolicy: &f.Supplement}
	out.VolumesInUse = f.VolumesInUse
	conditions(out, f)
	return out
}

func capacity(old, own corev1.ResourceList) corev1.ResourceList {
	out := own.DeepCopy()
	for name, q := range old {
		if _, ok := own[name]; !ok && strings.Contains(string(name), "/") {
			out[name] = q
		}
	}
	return out
}

func allocatable(f *Facts) corev1.ResourceList {
	out := f.Capacity.DeepCopy()
	for name, q := range out {
		if r, ok := f.Reserved[name]; ok {
			q.Sub(r)
			if q.Sign() < 0 {
				q = *resource.NewQuantity(0, q.Format)
			}
			out[name] = q
		}
	}
	memory := out[corev1.ResourceMemory]
	for name, q := range out { // huge pages are taken out of memory
		if strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
			memory.Sub(q)
		}
	}
	out[corev1.ResourceMemory] = memory
	return out
}

func addresses(f *Facts) []corev1.NodeAddress {
	var out []corev1.NodeAddress
	for _, ip := range f.IPs {
		out = append(out, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
	}
	return append(out, corev1.NodeAddress{Type: corev1.NodeHostName, Address: f.Hostname})
}

func info(f *Facts) corev1.NodeSystemInfo {
	out := corev1.NodeSystemInfo{
		MachineID: f.Host.MachineID, SystemUUID: f.Host.UUID, BootID: f.Host.BootID, KernelVersion: f.Host.Kernel, OSImage: f.Host.OS,
		ContainerRuntimeVersion: f.Runtime, KubeletVersion: f.Version, OperatingSystem: goruntime.GOOS, Architecture: goruntime.GOARCH,
	}
	if f.Host.Swap > 0 {
		out.Swap = &corev1.NodeSwapStatus{Capacity: &f.Host.Swap}
	}
	return out
}

// maxNames of an image in the status.
const maxNames = 5

func images(f *Facts) []corev1.ContainerImage {
	list := slices.Clone(f.Images)
	slices.SortStableFunc(list, func(a, b *runtimeapi.Image) int {
		if a.Size != b.Size {
			return int(min(max(int64(b.Size)-int64(a.Size), -1), 1))
		}
		return strings.Compare(a.Id, b.Id)
	})
	if f.MaxImages >= 0 && len(list) > f.MaxImages {
		list = list[:f.MaxImages]
	}
	var out []corev1.ContainerImage
	for _, i := range list {
		names := append(slices.Clone(i.RepoDigests), i.RepoTags...)
		if len(names) > maxNames {
			names = names[:maxNames]
		}
		out = append(out, corev1.ContainerImage{Names: names, SizeBytes: int64(i.Size)})
	}
	return out
}

func handlers(list []*runtimeapi.RuntimeHandler) []corev1.NodeRuntimeHandler {
	var out []corev1.NodeRuntimeHandler
	for _, h := range list {
		recursive, users := h.GetFeatures().GetRecursiveReadOnlyMounts(), h.GetFeatures().GetUserNamespaces()
		out = append(out, corev1.NodeRuntimeHandler{Name: h.Name, Features: &corev1.NodeRuntimeHandlerFeatures{RecursiveReadOnlyMounts: &recursive, UserNamespaces: &users}})
	}
	slices.SortFunc(out, func(a, b corev1.NodeRuntimeHandler) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func conditions(s *corev1.NodeStatus, f *Facts) {
	pressure := func(t corev1.NodeConditionType, has bool, bad, badText, good, goodText string) {
		if has {
			set(s, t, corev1.ConditionTrue, bad, badText, f.Now)
			return
		}
		set(s, t, corev1.ConditionFalse, good, goodText, f.Now)
	}
	pressure(corev1.NodeMemoryPressure, f.Memory, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available", "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
	pressure(corev1.NodeDiskPressure, f.Disk, "KubeletHasDiskPressure", "kubelet has disk pressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
	pressure(corev1.NodePIDPressure, f.PIDs, "KubeletHasInsufficientPID", "kubelet has insufficient PID available", "KubeletHasSufficientPID", "kubelet has sufficient PID available")
	switch len(f.NotReady) {
	case 0:
		set(s, corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status", f.Now)
	case 1:
		set(s, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", f.NotReady[0], f.Now)
	default:
		set(s, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", fmt.Sprintf("[%s]", strings.Join(f.NotReady, ", ")), f.Now)
	}
}

func set(s *corev1.NodeStatus, t corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string, now time.Time) {
	c := corev1.NodeCondition{Type: t, Status: status, Reason: reason, Message: message, LastHeartbeatTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now)}
	for i := range s.Conditions {
		if old := &s.Conditions[i]; old.Type == t {
			if old.Status == status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			*old = c
			return
		}
	}
	s.Conditions = append(s.Conditions, c)
}

// Spec is what a node is registered with.
type Spec struct {
	Name, Hostname string
	Labels         map[string]string
	Taints         []corev1.Taint
	ProviderID     string
	External       bool
}

// New is the node to register.
func New(s Spec) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.Name, Labels: own(s.Hostname)}}
	maps.Copy(n.Labels, s.Labels)
	n.Annotations = map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
	n.Spec.ProviderID = s.ProviderID
	n.Spec.Taints = slices.Clone(s.Taints)
	if s.External {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: corev1.TaintEffectNoSchedule})
	}
	return n
}

func own(hostname string) map[string]string {
	return map[string]string{
		corev1.LabelHostname: hostname, corev1.LabelOSStable: goruntime.GOOS, corev1.LabelArchStable: goruntime.GOARCH,
		"beta.kubernetes.io/os": goruntime.GOOS, "beta.kubernetes.io/arch": goruntime.GOARCH,
	}
}
