package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// size is what a container asks for, and what it may use; empty is nothing.
type size struct{ cpu, memory, cpuLimit, memoryLimit string }

func (s size) requirements() corev1.ResourceRequirements {
	list := func(cpu, memory string) corev1.ResourceList {
		out := corev1.ResourceList{}
		for name, text := range map[corev1.ResourceName]string{corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory} {
			if text != "" {
				out[name] = quantity.MustParse(text)
			}
		}
		return out
	}
	return corev1.ResourceRequirements{Requests: list(s.cpu, s.memory), Limits: list(s.cpuLimit, s.memoryLimit)}
}

// same is a size that is all the container gets, and no less.
func same(cpu, memory string) size { return size{cpu, memory, cpu, memory} }

// resized is a container before and after.
type resized struct {
	before, after size
	restarts      []corev1.ResourceName // whose change it is restarted for
}

// restarted reports whether the change asks for the container's restart.
func (c resized) restarted() int32 {
	before, after := c.before.requirements(), c.after.requirements()
	for _, name := range c.restarts {
		if !equality.Semantic.DeepEqual(before.Limits[name], after.Limits[name]) || name == corev1.ResourceCPU && !equality.Semantic.DeepEqual(before.Requests[name], after.Requests[name]) {
			return 1
		}
	}
	return 0
}

// groups prints what the kernel gives a container: in the first version of
// control groups shares, quota and memory; in the second weight, quota, memory.
const groups = `cd /sys/fs/cgroup; if test -e cpu.max; then cat cpu.weight cpu.max memory.max; else cat cpu/cpu.shares cpu/cpu.cfs_quota_us memory/memory.limit_in_bytes; fi`

// kernel is what groups should print for a size.
func kernel(s size, v2 bool) string {
	r := s.requirements()
	const period, page = 100000, 4096
	milli := r.Requests.Cpu().MilliValue()
	if _, asked := r.Requests[corev1.ResourceCPU]; !asked {
		milli = r.Limits.Cpu().MilliValue()
	}
	share, quota, memory := max(milli*1024/1000, 2), "-1", r.Limits.Memory().Value()/page*page
	if v2 {
		quota = "max"
	}
	if limit := r.Limits.Cpu().MilliValue(); limit > 0 {
		quota = strconv.FormatInt(max(limit*period/1000, 1000), 10)
	}
	most := strconv.FormatInt(memory, 10)
	switch {
	case memory == 0 && v2:
		most = "max"
	case memory == 0:
		most = "9223372036854771712"
	}
	if v2 {
		return fmt.Sprintf("%s %d %s", quota, period, most)
	}
	return fmt.Sprintf("%d %s %s", share, quota, most)
}

func resizePod(name string, all []resized) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	zero := int64(0)
	p.Spec.TerminationGracePeriodSeconds = &zero
	for i, c := range all {
		k := corev1.Container{Name: fmt.Sprintf("c%d", i+1), Image: busybox, Command: []string{"sh", "-c", "trap exit TERM; sleep 100000 & wait"}, Resources: c.before.requirements()}
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			policy := corev1.NotRequired
			for _, r := range c.restarts {
				if r == name {
					policy = corev1.RestartContainer
				}
			}
			k.ResizePolicy = append(k.ResizePolicy, corev1.ContainerResizePolicy{ResourceName: name, RestartPolicy: policy})
		}
		p.Spec.Containers = append(p.Spec.Containers, k)
	}
	return p
}

func (u user) pod(name string) *corev1.Pod {
	u.t.Helper()
	p, err := api.CoreV1().Pods(u.namespace).Get(u.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		u.t.Fatal(err)
	}
	return p
}

// settles waits until a pod has what it asks for and says so, and looks at
// what the kernel gives its containers.
func (u user) settles(name string, all []resized) {
	u.t.Helper()
	u.until(name+" has what it asks for", func() error {
		p := u.pod(name)
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodResizePending || c.Type == corev1.PodResizeInProgress {
				return fmt.Errorf("it has the condition %s: %s %s", c.Type, c.Reason, c.Message)
			}
		}
		if p.Status.ObservedGeneration != p.Generation || len(p.Status.ContainerStatuses) != len(all) {
			return errNotYet
		}
		for i, c := range all {
			s, want := p.Status.ContainerStatuses[i], c.after.requirements()
			if !equality.Semantic.DeepEqual(p.Spec.Containers[i].Resources.Limits, want.Limits) {
				return fmt.Errorf("the limits of %s's spec are %v", s.Name, p.Spec.Containers[i].Resources.Limits)
			}
			if s.Resources == nil || !equality.Semantic.DeepEqual(s.Resources.Limits, want.Limits) || !equality.Semantic.DeepEqual(s.Resources.Requests, p.Spec.Containers[i].Resources.Requests) {
				return fmt.Errorf("%s has %v", s.Name, s.Resources)
			}
			if !equality.Semantic.DeepEqual(s.AllocatedResources, p.Spec.Containers[i].Resources.Requests) {
				return fmt.Errorf("%s was given %v", s.Name, s.AllocatedResources)
			}
			if s.RestartCount != c.restarted() || !s.Ready {
				return fmt.Errorf("%s was restarted %d times, for changes of %v", s.Name, s.RestartCount, c.restarts)
			}
		}
		return nil
	})
	for i, c := range all {
		k := fmt.Sprintf("c%d", i+1)
		u.until("the groups of "+k, func() error {
			out, err := u.output("exec", name, "-c", k, "--", "sh", "-c", groups)
			if err != nil {
				return err
			}
			got := strings.Fields(out)
			v2 := len(got) == 4
			if v2 {
				got = got[1:] // how shares become weights is the runtime's affair
			}
			if text := strings.Join(got, " "); text != kernel(c.after, v2) {
				return fmt.Errorf("%s has %q, expected %q", k, text, kernel(c.after, v2))
			}
			return nil
		})
	}
}

// patched are the new resources of containers, as a patch.
func patched(all []resized) []byte {
	var list []any
	for i, c := range all {
		list = append(list, map[string]any{"name": fmt.Sprintf("c%d", i+1), "resources": c.after.requirements()})
	}
	raw, err := json.Marshal(map[string]any{"spec": map[string]any{"containers": list}})
	if err != nil {
		panic(err) // it is made of strings
	}
	return raw
}

// resizes are the pods of TestResize; all but the last are resized by a patch.
var resizes = []struct {
	id, name   string
	class      corev1.PodQOSClass
	containers []resized
}{
	{id: "NO-c27c six containers of a burstable pod", name: "six", class: corev1.PodQOSBurstable, containers: []resized{
		{before: size{cpu: "20m", memory: "20Mi"}, after: size{"20m", "20Mi", "60m", "60Mi"}},
		{before: size{"20m", "20Mi", "40m", "40Mi"}, after: size{"30m", "30Mi", "60m", "60Mi"}},
		{before: size{"30m", "30Mi", "60m", "60Mi"}, after: size{"20m", "20Mi", "40m", "40Mi"}},
		{before: size{}, after: size{"10m", "10Mi", "20m", "20Mi"}, restarts: []corev1.ResourceName{corev1.ResourceCPU}},
		{before: size{"20m", "20Mi", "40m", "40Mi"}, after: size{"20m", "20Mi", "40m", "60Mi"}, restarts: []corev1.ResourceName{corev1.ResourceMemory}},
		{before: size{"20m", "20Mi", "40m", "40Mi"}, after: size{"30m", "20Mi", "50m", "40Mi"}, restarts: []corev1.ResourceName{corev1.ResourceMemory}},
	}},
	{id: "NO-e06a sizes that the kernel takes for the same", name: "equal", class: corev1.PodQOSBurstable, containers: []resized{
		{before: size{cpu: "2m", cpuLimit: "10m"}, after: size{cpu: "1m", cpuLimit: "5m"}},
	}},
	{id: "NO-0930 three containers that get more", name: "more", class: corev1.PodQOSGuaranteed, containers: []resized{
		{before: same("20m", "20Mi"), after: same("50m", "50Mi")},
		{before: same("40m", "40Mi"), after: same("30m", "30Mi")},
		{before: same("20m", "30Mi"), after: same("40m", "40Mi")},
	}},
	{id: "NO-5402 three containers, some of which get less", name: "mixed", class: corev1.PodQOSGuaranteed, containers: []resized{
		{before: same("20m", "30Mi"), after: same("30m", "30Mi")},
		{before: same("40m", "30Mi"), after: same("20m", "40Mi")},
		{before: same("20m", "30Mi"), after: same("30m", "40Mi")},
	}},
	{id: "NO-40d4 a pod that is replaced", name: "replaced", class: corev1.PodQOSGuaranteed, containers: []resized{
		{before: same("20m", "20Mi"), after: same("30m", "40Mi")},
		{before: same("30m", "40Mi"), after: same("20m", "20Mi")},
	}},
}

// TestResize: containers get more and less while they run.
func TestResize(t *testing.T) {
	t.Parallel()
	u := newUser(t, "resize")
	pods := api.CoreV1().Pods(u.namespace)
	for _, r := range resizes {
		if _, err := pods.Create(t.Context(), resizePod(r.name, r.containers), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range resizes {
		t.Run(r.id, func(t *testing.T) {
			u := u
			u.t = t
			was := make([]resized, len(r.containers))
			for i, c := range r.containers {
				was[i] = resized{before: c.before, after: c.before}
			}
			u.settles(r.name, was)
			if strings.HasPrefix(r.id, "NO-40d4") {
				u.replace(r.name, r.containers)
			} else if _, err := pods.Patch(t.Context(), r.name, types.StrategicMergePatchType, patched(r.containers), metav1.PatchOptions{}, "resize"); err != nil {
				t.Fatal(err)
			}
			u.settles(r.name, r.containers)
			if got := u.pod(r.name).Status.QOSClass; got != r.class {
				t.Errorf("it is %s", got)
			}
		})
	}
}

// replace puts a pod in its own place, with other resources, and reads it back.
func (u user) replace(name string, all []resized) {
	u.t.Helper()
	pods := api.CoreV1().Pods(u.namespace)
	u.until("it is replaced", func() error {
		p, err := pods.Get(u.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for i := range all {
			p.Spec.Containers[i].Resources = all[i].after.requirements()
		}
		_, err = pods.UpdateResize(u.t.Context(), name, p, metav1.UpdateOptions{})
		return err // the kubelet's own writes come between
	})
	u.until("the subresource is the pod", func() error {
		got := &corev1.Pod{}
		if err := api.CoreV1().RESTClient().Get().Namespace(u.namespace).Resource("pods").Name(name).SubResource("resize").Do(u.t.Context()).Into(got); err != nil {
			return err
		}
		p := u.pod(name)
		if p.ResourceVersion != got.ResourceVersion {
			return errNotYet
		}
		if !equality.Semantic.DeepEqual(p, got) {
			u.t.Errorf("GET of the subresource gives another pod")
		}
		return nil
	})
}
