package endpointslice

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		nodes := map[string]*corev1.Node{}
		o := observed{
			svc: &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"},
				Spec:       corev1.ServiceSpec{ClusterIP: "10.0.0.1", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(8080)}}},
			},
			node: func(n string) *corev1.Node { return nodes[n] }, most: 3,
		}
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "service":
				readService(&o, pairs)
			case "node":
				nodes[words[1]] = readNode(words[1], pairs)
			case "pod":
				o.pods = append(o.pods, readPod(t, words[1], pairs))
			case "slice":
				o.slices = append(o.slices, readSlice(&o, words[1], pairs))
			default:
				t.Fatalf("what is %q?", line)
			}
		}
		if ByCapacity(o.svc) {
			o.capacity = measure(maps.Values(nodes))
		}
		return plan(o).String()
	})
}

// readNode makes a ready node of the words zone=, cpu=, unready and control.
func readNode(name string, pairs map[string]string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: pairs["zone"]}}}
	if pairs["unready"] == "" {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	}
	if pairs["control"] != "" {
		n.Labels["node-role.kubernetes.io/control-plane"] = ""
	}
	if cpu := pairs["cpu"]; cpu != "" {
		n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	}
	return n
}

func readService(o *observed, pairs map[string]string) {
	for k, v := range pairs {
		switch k {
		case "dual":
			o.svc.Spec.IPFamilies = append(o.svc.Spec.IPFamilies, corev1.IPv6Protocol)
		case "target":
			o.svc.Spec.Ports[0].TargetPort = intstr.FromString(v)
		case "unready":
			o.svc.Spec.PublishNotReadyAddresses = true
		case "prefer":
			o.svc.Spec.TrafficDistribution = &v
		case "auto":
			o.svc.Annotations = map[string]string{corev1.AnnotationTopologyMode: "Auto"}
		case "headless":
			o.svc.Spec.ClusterIP = corev1.ClusterIPNone
		case "label":
			o.svc.Labels = map[string]string{"team": v}
		}
	}
}

func readPod(t *testing.T, name string, pairs map[string]string) *corev1.Pod {
	p := podtest.Pod(t, name, pairs)
	p.Spec.Hostname, p.Spec.Subdomain = pairs["host"], pairs["domain"]
	if v := pairs["ip6"]; v != "" {
		p.Status.PodIPs = []corev1.PodIP{{IP: p.Status.PodIP}, {IP: v}}
	}
	if v := pairs["port"]; v != "" {
		name, number, _ := strings.Cut(v, ":")
		p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: name, ContainerPort: podtest.Int(t, number), Protocol: corev1.ProtocolTCP}}}}
	}
	return p
}

// readSlice makes a slice as this controller would have, of ready endpoints.
func readSlice(o *observed, name string, pairs map[string]string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: labelsOf(o.svc)}, AddressType: discoveryv1.AddressTypeIPv4}
	if pairs["v6"] != "" {
		s.AddressType = discoveryv1.AddressTypeIPv6
	}
	for p := range strings.SplitSeq(pairs["pods"], ",") {
		name, ip, ok := strings.Cut(p, "@")
		if !ok {
			continue
		}
		v := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)}, Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
		s.Endpoints = append(s.Endpoints, endpoint(v, nil, o.svc, ip))
		s.Ports = ports(o.svc, v)
	}
	return s
}

func TestFamiliesOfOldServices(t *testing.T) {
	for ip, want := range map[string]discoveryv1.AddressType{"10.0.0.1": discoveryv1.AddressTypeIPv4, "fd00::1": discoveryv1.AddressTypeIPv6, "None": discoveryv1.AddressTypeIPv4} {
		if got := Families(&corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: ip}}); fmt.Sprint(got) != fmt.Sprint([]discoveryv1.AddressType{want}) {
			t.Errorf("%s: %v", ip, got)
		}
	}
}

// TestFewWrites: five hundred pods that come and go one by one change one slice
// each time, and the slices stay full.
func TestFewWrites(t *testing.T) {
	o := observed{
		svc:  &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.1"}},
		node: func(string) *corev1.Node { return nil }, most: 100,
	}
	n := 0
	step := func() int {
		p := plan(o)
		for _, s := range p.Update {
			for i := range o.slices {
				if o.slices[i].Name == s.Name {
					o.slices[i] = s
				}
			}
		}
		for _, s := range p.Create {
			n++
			s.Name = fmt.Sprint("s", n)
			o.slices = append(o.slices, s)
		}
		for _, d := range p.Delete {
			for i := range o.slices {
				if o.slices[i] == d {
					o.slices = append(o.slices[:i], o.slices[i+1:]...)
					break
				}
			}
		}
		return len(p.Create) + len(p.Update) + len(p.Delete)
	}
	for i := range 500 {
		o.pods = append(o.pods, podtest.Pod(t, fmt.Sprint("p", i), map[string]string{"ready": "true", "ip": fmt.Sprintf("10.1.%d.%d", i/250, i%250)}))
		if w := step(); w > 2 || w > 1 && i > 0 {
			t.Fatalf("pod %d: %d writes", i, w)
		}
	}
	if len(o.slices) != 5 || step() != 0 {
		t.Errorf("%d slices of five hundred endpoints", len(o.slices))
	}
	for i := range 490 {
		o.pods = o.pods[1:]
		if w := step(); w != 1 {
			t.Fatalf("removal %d: %d writes", i, w)
		}
	}
	if len(o.slices) != 1 {
		t.Errorf("%d slices of %d endpoints", len(o.slices), len(o.pods))
	}
}
