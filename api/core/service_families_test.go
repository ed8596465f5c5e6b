package core_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/core"
)

func TestServiceFamilies(t *testing.T) {
	v4, v6 := corev1.IPv4Protocol, corev1.IPv6Protocol
	single, dual := []corev1.IPFamily{v4}, []corev1.IPFamily{v4, v6}
	for _, c := range []struct {
		name, object, old string
		cluster           []corev1.IPFamily
		want              string
	}{
		{"nothing asked", `{"spec":{}}`, "", dual, "[IPv4] SingleStack []"},
		{"the primary family is the cluster's", `{"spec":{}}`, "", []corev1.IPFamily{v6, v4}, "[IPv6] SingleStack []"},
		{"two preferred, one there", `{"spec":{"ipFamilyPolicy":"PreferDualStack"}}`, "", single, "[IPv4] PreferDualStack []"},
		{"two preferred, two there", `{"spec":{"ipFamilyPolicy":"PreferDualStack"}}`, "", dual, "[IPv4 IPv6] PreferDualStack []"},
		{"the other one first", `{"spec":{"ipFamilyPolicy":"RequireDualStack","ipFamilies":["IPv6"]}}`, "", dual, "[IPv6 IPv4] RequireDualStack []"},
		{"the family of the address", `{"spec":{"clusterIP":"fd00::1"}}`, "", dual, "[IPv6] SingleStack [fd00::1]"},
		{"an address of a family that is not there", `{"spec":{"clusterIP":"fd00::1"}}`, "", single,
			`spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster`},
		{"headless without selector: any endpoints", `{"spec":{"clusterIP":"None"}}`, "", single, "[IPv4 IPv6] RequireDualStack [None]"},
		{"headless with selector", `{"spec":{"clusterIP":"None","selector":{"a":"b"}}}`, "", single, "[IPv4] SingleStack [None]"},
		{"an external name has none", `{"spec":{"type":"ExternalName","externalName":"a"}}`, "", dual, "[]  []"},
		{"a second one comes", `{"spec":{"ipFamilyPolicy":"PreferDualStack"}}`,
			`{"spec":{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack"}}`, dual,
			"[IPv4 IPv6] PreferDualStack [10.0.0.1]"},
		{"the second one goes", `{"spec":{"ipFamilyPolicy":"SingleStack","ipFamilies":["IPv4","IPv6"]}}`,
			`{"spec":{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"],"ipFamilies":["IPv4","IPv6"],"ipFamilyPolicy":"PreferDualStack"}}`, dual,
			"[IPv4] SingleStack [10.0.0.1]"},
		{"a preference is not pursued later", `{"spec":{"ipFamilyPolicy":"PreferDualStack","ipFamilies":["IPv4"]}}`,
			`{"spec":{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"PreferDualStack"}}`, dual,
			"[IPv4] PreferDualStack [10.0.0.1]"},
		{"from an external name", `{"spec":{}}`, `{"spec":{"type":"ExternalName","externalName":"a"}}`, single, "[IPv4] SingleStack []"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := resource(t, "Service")
			s := decoded(t, r, c.object).(*corev1.Service)
			var old *corev1.Service
			if c.old != "" {
				old = decoded(t, r, c.old).(*corev1.Service)
			}
			core.PrepareServiceIPs(s, old)
			errs := core.InitServiceFamilies(s, old, c.cluster)
			policy := ""
			if p := s.Spec.IPFamilyPolicy; p != nil {
				policy = string(*p)
			}
			got := fmt.Sprintf("%v %s %v", s.Spec.IPFamilies, policy, s.Spec.ClusterIPs)
			if len(errs) > 0 {
				got = errs.ToAggregate().Error()
			}
			if got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func BenchmarkValidateService(b *testing.B) {
	s := &corev1.Service{Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web"}, ClusterIP: "10.0.0.1", ClusterIPs: []string{"10.0.0.1"},
		IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, IPFamilyPolicy: new(corev1.IPFamilyPolicySingleStack),
		Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "https", Port: 443}},
	}}
	core.DefaultService(s)
	b.ReportAllocs()
	for b.Loop() {
		if errs := core.ValidateService(s, nil); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}

func BenchmarkValidateNodeUpdate(b *testing.B) {
	n := &corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24"}, PodCIDR: "10.0.0.0/24"}}
	n.Status.Capacity = corev1.ResourceList{"cpu": {}, "memory": {}, "pods": {}, "ephemeral-storage": {}}
	n.Status.Addresses = []corev1.NodeAddress{{Type: "InternalIP", Address: "1.1.1.1"}, {Type: "Hostname", Address: "n"}}
	core.DefaultNode(n)
	b.ReportAllocs()
	for b.Loop() {
		if errs := core.ValidateNodeUpdate(n, n); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}

func BenchmarkValidateEvent(b *testing.B) {
	e := &corev1.Event{}
	e.Namespace, e.Name = "default", "pod.17a"
	e.InvolvedObject = corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "pod"}
	b.ReportAllocs()
	for b.Loop() {
		if errs := core.ValidateEvent(e); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}
