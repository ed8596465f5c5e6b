package claimstatus

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func claim(edit func(s *resourcev1.ResourceClaimStatus)) *resourcev1.ResourceClaim {
	c := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "c"}}
	c.Status = resourcev1.ResourceClaimStatus{
		Allocation: &resourcev1.AllocationResult{
			Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{
				{Request: "r", Driver: "a.example.com", Pool: "p", Device: "d"}, {Request: "r", Driver: "b.example.com", Pool: "p", Device: "d"},
			}},
			NodeSelector: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{
				{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"n"}},
			}}}},
		},
		ReservedFor: []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: "p", UID: "1"}},
		Devices:     []resourcev1.AllocatedDeviceStatus{{Driver: "b.example.com", Pool: "p", Device: "d"}},
	}
	edit(&c.Status)
	return c
}

func TestStatus(t *testing.T) {
	w := admissiontest.New(t)
	p := &Plugin{admissiontest.Authorizer{
		"scheduler update resourceclaims/binding c":                             true,
		"local associated-node:update resourceclaims/driver a.example.com":      true,
		"central arbitrary-node:update resourceclaims/driver a.example.com":     true,
		"both arbitrary-node:update resourceclaims/driver a.example.com":        true,
		"both arbitrary-node:update resourceclaims/driver b.example.com":        true,
		"controller update resourceclaims/binding c":                            true,
		"elsewhere associated-node:update resourceclaims/driver a.example.com":  true,
		"no-account associated-node:update resourceclaims/driver a.example.com": true,
	}}
	same := func(*resourcev1.ResourceClaimStatus) {}
	report := func(driver string) func(s *resourcev1.ResourceClaimStatus) {
		return func(s *resourcev1.ResourceClaimStatus) {
			s.Devices = append(s.Devices, resourcev1.AllocatedDeviceStatus{Driver: driver, Pool: "p", Device: "d", Conditions: []metav1.Condition{{Type: "Ready"}}})
		}
	}
	cannot := func(path, user, verb, subresource string) string {
		return fmt.Sprintf(`status.%s: Forbidden: User %q cannot %s resource "resourceclaims/%s" in API group "resource.k8s.io" in the namespace "x"`, path, user, verb, subresource)
	}
	free := func(s *resourcev1.ResourceClaimStatus) { *s = resourcev1.ResourceClaimStatus{} }
	for _, x := range []struct {
		user, node string
		was, now   func(s *resourcev1.ResourceClaimStatus)
		want       string
	}{
		{"nobody", "", same, same, ""},
		{"scheduler", "", func(s *resourcev1.ResourceClaimStatus) { s.Allocation, s.Devices = nil, nil }, same, cannot("devices", "scheduler", "arbitrary-node:update", "driver")},
		{"scheduler", "", same, func(s *resourcev1.ResourceClaimStatus) { s.ReservedFor = nil }, ""},
		{"nobody", "", same, func(s *resourcev1.ResourceClaimStatus) { s.ReservedFor = nil }, cannot("reservedFor", "nobody", "update", "binding")},
		// What is freed takes its devices' reports with it.
		{"controller", "", same, free, ""},
		{"nobody", "", same, free, cannot("allocation", "nobody", "update", "binding") + ", " + cannot("reservedFor", "nobody", "update", "binding") + "]"},
		{"local", "n", same, report("a.example.com"), ""},
		{"local", "n", same, report("b.example.com"), cannot("devices", "local", "arbitrary-node:update", "driver")},
		{"elsewhere", "m", same, report("a.example.com"), cannot("devices", "elsewhere", "arbitrary-node:update", "driver")},
		{"no-account", "", same, report("a.example.com"), cannot("devices", "no-account", "arbitrary-node:update", "driver")},
		{"central", "", same, report("a.example.com"), ""},
		{"central", "", report("a.example.com"), func(s *resourcev1.ResourceClaimStatus) { s.Devices = nil }, cannot("devices", "central", "arbitrary-node:update", "driver")},
		{"both", "", report("a.example.com"), func(s *resourcev1.ResourceClaimStatus) { s.Devices = nil }, ""},
	} {
		r := w.Update(claim(x.now), claim(x.was), "status").As(x.user)
		if x.node != "" {
			r = w.Update(claim(x.now), claim(x.was), "status").As(x.user, "system:serviceaccounts")
			r.User.Extra = map[string][]string{"authentication.kubernetes.io/node-name": {x.node}}
		}
		admissiontest.Refused(t, admissiontest.Run(p, r), x.want)
	}
	// Updates of the claim itself are not asked about.
	admissiontest.Refused(t, admissiontest.Run(p, w.Update(claim(free), claim(same), "").As("nobody")), "")
}
