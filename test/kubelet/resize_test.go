package kubelet

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func sized(p *corev1.Pod, cpu, memory, cpuLimit, memoryLimit string) *corev1.Pod {
	list := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: list(cpu, memory), Limits: list(cpuLimit, memoryLimit)}
	return p
}

func resize(t *testing.T, name string, r corev1.ResourceRequirements) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "main", "resources": r}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Client.CoreV1().Pods("default").Patch(t.Context(), name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "resize"); err != nil {
		t.Fatal(err)
	}
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == kind {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// settled: the pod has what it asks for, and nothing is under way.
func settled(p *corev1.Pod) bool {
	s, want := status(p, "main"), p.Spec.Containers[0].Resources
	if s.Resources == nil || condition(p, corev1.PodResizePending) != nil || condition(p, corev1.PodResizeInProgress) != nil {
		return false
	}
	for name, q := range want.Requests {
		have, allocated := s.Resources.Requests[name], s.AllocatedResources[name]
		if have.Cmp(q) != 0 || allocated.Cmp(q) != 0 {
			return false
		}
	}
	for name, q := range want.Limits {
		if have := s.Resources.Limits[name]; have.Cmp(q) != 0 {
			return false
		}
	}
	return true
}

// memoryLimit is the kernel's for a running container.
func memoryLimit(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	_, id, _ := strings.Cut(status(p, "main").ContainerID, "://")
	return groupLimit(t, p, id)
}

// groupLimit is that of a group of the pod, its own where inner is empty.
func groupLimit(t *testing.T, p *corev1.Pod, inner string) string {
	t.Helper()
	for _, path := range []string{"/sys/fs/cgroup/memory%s/kubepods%s/pod%s/%s/memory.limit_in_bytes", "/sys/fs/cgroup%s/kubepods%s/pod%s/%s/memory.max"} {
		for _, class := range []string{"", "/*"} {
			found, err := filepath.Glob(filepath.Clean(fmt.Sprintf(path, node.Cgroup(), class, p.UID, inner)))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				raw, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSpace(string(raw))
			}
		}
	}
	t.Fatalf("pod %s has no group %q", p.Name, inner)
	return ""
}

// Resources of a running container change without a restart, unless its
// policy asks for one.
func TestResize(t *testing.T) {
	p := always(sized(pod("resize", "wait"), "50m", "32Mi", "100m", "64Mi"))
	create(t, p)
	p = wait(t, "resize", "given what it asks for", func(p *corev1.Pod) bool { return ready(p) && settled(p) })
	if got := memoryLimit(t, p); got != fmt.Sprint(64<<20) {
		t.Errorf("limit %s", got)
	}
	for _, size := range []struct{ cpu, memory, cpuLimit, memoryLimit string }{
		{"100m", "48Mi", "300m", "128Mi"}, // more
		{"50m", "32Mi", "100m", "96Mi"},   // less
	} {
		want := sized(pod("", ""), size.cpu, size.memory, size.cpuLimit, size.memoryLimit).Spec.Containers[0].Resources
		resize(t, "resize", want)
		p = wait(t, "resize", "resized", settled)
		q := want.Limits[corev1.ResourceMemory]
		if got := memoryLimit(t, p); got != fmt.Sprint(q.Value()) {
			t.Errorf("limit %s, want %d", got, q.Value())
		}
	}
	if n := status(p, "main").RestartCount; n != 0 {
		t.Errorf("%d restarts", n)
	}
	told(t, "resize", "Pod resize started: ")
	told(t, "resize", `Pod resize completed: {"containers":[{"name":"main","resources":{`)

	p = always(sized(pod("resize-restart", "wait"), "50m", "32Mi", "100m", "64Mi"))
	p.Spec.Containers[0].ResizePolicy = []corev1.ContainerResizePolicy{
		{ResourceName: corev1.ResourceMemory, RestartPolicy: corev1.RestartContainer}, {ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.NotRequired},
	}
	create(t, p)
	wait(t, p.Name, "ready", ready)
	resize(t, p.Name, sized(pod("", ""), "50m", "32Mi", "100m", "80Mi").Spec.Containers[0].Resources)
	p = wait(t, p.Name, "restarted with its new size", func(p *corev1.Pod) bool { return status(p, "main").RestartCount == 1 && ready(p) && settled(p) })
	if got := memoryLimit(t, p); got != fmt.Sprint(80<<20) {
		t.Errorf("limit %s", got)
	}
}

// What the node can't give is not given, and the pod says why; once it can,
// it is.
func TestResizeThatDoesNotFit(t *testing.T) {
	var n *corev1.Node
	until(t, "the node is registered", func() (err error) {
		n, err = node.Client.CoreV1().Nodes().Get(t.Context(), node.Name, metav1.GetOptions{})
		return err
	})
	cpus := n.Status.Allocatable.Cpu().MilliValue()
	name := "resize-waits"
	create(t, always(sized(pod(name, "wait"), "50m", "32Mi", "8000", "64Mi")))
	other := always(pod("resize-hog", "wait"))
	other.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("200m")}
	create(t, other)
	wait(t, name, "ready", ready)
	wait(t, other.Name, "ready", ready)

	to := func(milli int64) {
		resize(t, name, corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI)}})
	}
	pending := func(reason, message string) {
		t.Helper()
		p := wait(t, name, reason, func(p *corev1.Pod) bool {
			c := condition(p, corev1.PodResizePending)
			return c != nil && c.Status == corev1.ConditionTrue && c.Reason == reason && c.ObservedGeneration == p.Generation
		})
		if got := condition(p, corev1.PodResizePending).Message; got != message {
			t.Errorf("message %q, want %q", got, message)
		}
		if q := status(p, "main").AllocatedResources[corev1.ResourceCPU]; q.MilliValue() != 50 {
			t.Errorf("allocated %v", q)
		}
		told(t, name, "Pod resize "+reason+": ")
	}
	to(cpus + 1000)
	pending("Infeasible", fmt.Sprintf("Node didn't have enough capacity: cpu, requested: %d, capacity: %d", cpus+1000, cpus))
	to(cpus - 100)
	pending("Deferred", fmt.Sprintf("Node didn't have enough resource: cpu, requested: %d, used: 200, capacity: %d", cpus-100, cpus))
	// A kubelet that begins anew knows that it has not been given, and gives no
	// more of what was asked while there was none.
	node.KillKubelet()
	to(cpus - 50)
	if err := node.StartKubelet(); err != nil {
		t.Fatal(err)
	}
	wait(t, name, "still waiting", func(p *corev1.Pod) bool {
		return ready(p) && p.Status.ObservedGeneration == p.Generation && condition(p, corev1.PodResizePending) != nil && status(p, "main").AllocatedResources.Cpu().MilliValue() == 50
	})
	if err := node.Client.CoreV1().Pods("default").Delete(t.Context(), other.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p := wait(t, name, "resized", settled)
	if status(p, "main").RestartCount != 0 {
		t.Error("it was restarted")
	}
}

// Memory that is in use is not taken: the pod says so and goes on, until it
// asks for what can be done.
func TestResizeBelowUse(t *testing.T) {
	t.Parallel()
	const name = "resize-used"
	create(t, always(sized(pod(name, "memory", "40"), "10m", "16Mi", "100m", "128Mi")))
	wait(t, name, "using its memory", func(p *corev1.Pod) bool {
		if !ready(p) || !settled(p) {
			return false
		}
		_, id, _ := strings.Cut(status(p, "main").ContainerID, "://")
		for _, path := range []string{"/sys/fs/cgroup/memory%s/kubepods/*/pod%s/%s/memory.usage_in_bytes", "/sys/fs/cgroup%s/kubepods/*/pod%s/%s/memory.current"} {
			found, _ := filepath.Glob(fmt.Sprintf(path, node.Cgroup(), p.UID, id)) // the pattern is good
			for _, f := range found {
				raw, err := os.ReadFile(f)
				var n int64
				if _, scan := fmt.Sscan(string(raw), &n); err == nil && scan == nil && n > 40<<20 {
					return true
				}
			}
		}
		return false
	})
	limits := func(memory string) corev1.ResourceRequirements {
		return sized(pod("", ""), "10m", "16Mi", "100m", memory).Spec.Containers[0].Resources
	}
	resize(t, name, limits("24Mi"))
	p := wait(t, name, "refusing", func(p *corev1.Pod) bool {
		c := condition(p, corev1.PodResizeInProgress)
		return c != nil && c.Reason == corev1.PodReasonError && c.ObservedGeneration == p.Generation
	})
	message := condition(p, corev1.PodResizeInProgress).Message
	for _, want := range []string{"attempting to set pod memory limit (25165824) below current usage (", `attempting to set container "main" memory limit (25165824) below current usage (`} {
		if !strings.Contains(message, want) {
			t.Errorf("it says %q", message)
		}
	}
	told(t, name, "Pod resize error: ")
	if got := status(p, "main").Resources.Limits.Memory().String(); got != "128Mi" || memoryLimit(t, p) != fmt.Sprint(128<<20) {
		t.Errorf("it has %s", got)
	}
	resize(t, name, limits("64Mi"))
	p = wait(t, name, "resized", settled)
	if n := status(p, "main").RestartCount; n != 0 || memoryLimit(t, p) != fmt.Sprint(64<<20) || groupLimit(t, p, "") != fmt.Sprint(64<<20) {
		t.Errorf("%d restarts, limits %s and %s", n, memoryLimit(t, p), groupLimit(t, p, ""))
	}
}

// What a pod asks for as a whole is changed like what its containers ask for.
func TestResizeWholePod(t *testing.T) {
	t.Parallel()
	const name = "resize-whole"
	list := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	p := always(pod(name, "wait"))
	p.Spec.Resources = &corev1.ResourceRequirements{Requests: list("50m", "32Mi"), Limits: list("100m", "64Mi")}
	create(t, p)
	has := func(p *corev1.Pod) bool {
		return ready(p) && p.Status.ObservedGeneration == p.Generation && equality.Semantic.DeepEqual(p.Status.Resources, p.Spec.Resources) &&
			equality.Semantic.DeepEqual(p.Status.AllocatedResources, p.Spec.Resources.Requests) && condition(p, corev1.PodResizeInProgress) == nil && condition(p, corev1.PodResizePending) == nil
	}
	p = wait(t, name, "given what it asks for", has)
	for _, size := range []corev1.ResourceRequirements{
		{Requests: list("100m", "48Mi"), Limits: list("200m", "128Mi")},
		{Requests: list("40m", "24Mi"), Limits: list("80m", "48Mi")},
	} {
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"resources": size}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := node.Client.CoreV1().Pods("default").Patch(t.Context(), name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "resize"); err != nil {
			t.Fatal(err)
		}
		p = wait(t, name, "resized", func(p *corev1.Pod) bool { return has(p) && equality.Semantic.DeepEqual(*p.Spec.Resources, size) })
		want := fmt.Sprint(size.Limits.Memory().Value())
		if got, inner := groupLimit(t, p, ""), memoryLimit(t, p); got != want || inner != want {
			t.Errorf("limits %s and %s, want %s", got, inner, want)
		}
	}
	if n := status(p, "main").RestartCount; n != 0 {
		t.Errorf("%d restarts", n)
	}
}
