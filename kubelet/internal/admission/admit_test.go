package admission

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/kubelet/internal/eviction"
)

func node() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"kubernetes.io/os": "linux", "zone": "a", "size": "5"}},
		Status:     corev1.NodeStatus{Allocatable: corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("1Gi"), "pods": resource.MustParse("3"), "example.com/x": resource.MustParse("0")}},
	}
}

func pod(cpu string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{}
	c := corev1.Container{Name: "c"}
	if cpu != "" {
		c.Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse(cpu)}
	}
	p.Spec.Containers = []corev1.Container{c}
	if change != nil {
		change(p)
	}
	return p
}

func affinity(key string, op corev1.NodeSelectorOperator, values ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}},
		}}}
	}
}

func port(n int32, ip string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: n, HostIP: ip, Protocol: corev1.ProtocolTCP}}
	}
}

func profile(kind corev1.AppArmorProfileType) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{AppArmorProfile: &corev1.AppArmorProfile{Type: kind}}
	}
}

func TestDecide(t *testing.T) {
	static := func(p *corev1.Pod) { p.Annotations = map[string]string{"kubernetes.io/config.source": "file"} }
	for _, c := range []struct {
		name   string
		pod    *corev1.Pod
		others []*corev1.Pod
		change func(*Input)
		want   string
	}{
		{"fits", pod("1", nil), []*corev1.Pod{pod("1", nil)}, nil, ""},
		{"cpu", pod("1500m", nil), []*corev1.Pod{pod("1", nil)}, nil, "OutOfcpu: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"},
		{"pods", pod("", nil), []*corev1.Pod{pod("", nil), pod("", nil), pod("", nil)}, nil, "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"},
		{"memory before storage", pod("", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"ephemeral-storage": resource.MustParse("2Gi"), "memory": resource.MustParse("2Gi"), "a.example.com/x": resource.MustParse("1")}
		}), nil, nil, "OutOfmemory: "},
		{"another architecture", pod("", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/arch": "arm64"} }), nil, func(in *Input) {
			in.Node.Labels["kubernetes.io/arch"] = "amd64"
		}, "NodeAffinity: "},
		{"another system", pod("", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"} }), nil, nil, "PodOSSelectorNodeLabelDoesNotMatch: "},
		{"static", pod("100", static), nil, nil, ""},
		{"a resource that no node has", pod("", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"example.com/none": resource.MustParse("1")}
		}), nil, nil, ""},
		{"huge pages that the node has not", pod("", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"hugepages-2Mi": resource.MustParse("2Mi")}
		}), nil, nil, "OutOfhugepages-2Mi: "},
		{"too many devices", pod("", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"example.com/x": resource.MustParse("1")}
		}), nil, nil, "OutOfexample.com/x: "},
		{"selector", pod("", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"zone": "b"} }), nil, nil, "NodeAffinity: Predicate NodeAffinity failed"},
		{"in", pod("", affinity("zone", corev1.NodeSelectorOpIn, "a", "b")), nil, nil, ""},
		{"not in", pod("", affinity("zone", corev1.NodeSelectorOpNotIn, "a")), nil, nil, "NodeAffinity: "},
		{"greater", pod("", affinity("size", corev1.NodeSelectorOpGt, "4")), nil, nil, ""},
		{"less", pod("", affinity("size", corev1.NodeSelectorOpLt, "5")), nil, nil, "NodeAffinity: "},
		{"absent", pod("", affinity("none", corev1.NodeSelectorOpExists)), nil, nil, "NodeAffinity: "},
		{"port", pod("", port(80, "10.0.0.1")), []*corev1.Pod{pod("", port(80, ""))}, nil, "NodePorts: "},
		{"other address", pod("", port(80, "10.0.0.1")), []*corev1.Pod{pod("", port(80, "10.0.0.2"))}, nil, ""},
		{"port of a sidecar", pod("", func(p *corev1.Pod) {
			always := corev1.ContainerRestartPolicyAlways
			p.Spec.InitContainers = []corev1.Container{{Name: "s", RestartPolicy: &always, Ports: []corev1.ContainerPort{{HostPort: 80, Protocol: corev1.ProtocolTCP}}}}
		}), []*corev1.Pod{pod("", port(80, ""))}, nil, "NodePorts: "},
		{"profile without AppArmor", pod("", profile(corev1.AppArmorProfileTypeRuntimeDefault)), nil, nil, "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host"},
		{"profile", pod("", profile(corev1.AppArmorProfileTypeRuntimeDefault)), nil, func(in *Input) { in.AppArmor = true }, ""},
		{"unconfined", pod("", profile(corev1.AppArmorProfileTypeUnconfined)), nil, nil, ""},
		{"windows", pod("", func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }), nil, nil, "PodOSNotSupported: "},
		{"taint", pod("", nil), nil, func(in *Input) {
			in.Node.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoExecute}}
		}, "TaintToleration: "},
		{"sysctl", pod("", func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.msgmax", Value: "1"}}}
		}), nil, nil, `SysctlForbidden: forbidden sysctl: "kernel.msgmax" not allowlisted`},
		{"allowed sysctl", pod("", func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.msgmax", Value: "1"}}}
		}), nil, func(in *Input) { in.UnsafeSysctls = []string{"kernel.msg*"} }, ""},
		{"memory pressure", pod("", nil), nil, func(in *Input) { in.Pressures = eviction.Pressures{Memory: true} }, "Evicted: The node had condition: [MemoryPressure]. "},
		{"memory pressure, burstable", pod("1", nil), nil, func(in *Input) { in.Pressures = eviction.Pressures{Memory: true} }, ""},
		{"disk pressure", pod("1", nil), nil, func(in *Input) { in.Pressures = eviction.Pressures{Disk: true} }, "Evicted: The node had condition: [DiskPressure]. "},
		{"disk pressure, static", pod("1", static), nil, func(in *Input) { in.Pressures = eviction.Pressures{Disk: true} }, ""},
	} {
		in := Input{Pod: c.pod, Others: c.others, Node: node()}
		if c.change != nil {
			c.change(&in)
		}
		got := ""
		if r := Decide(in).Refusal; r != nil {
			got = r.Reason + ": " + r.Message
		}
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
