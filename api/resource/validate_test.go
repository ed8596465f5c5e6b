package resource

import (
	"testing"

	resourcev1 "k8s.io/api/resource/v1"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func resourceOf(plural string) scheme.Resource {
	r, _ := scheme.New(Resources()).Resource(group, plural)
	return *r
}

const request = `"requests":[{"name":"r","exactly":{"deviceClassName":"c"}}]`

func TestClaim(t *testing.T) {
	observedtest.Attempts(t, resourceOf("resourceclaims"), ``, []observedtest.Attempt{
		{Name: "both kinds of request", Patch: `{"spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"c"},"firstAvailable":[{"name":"s","deviceClassName":"c"}]}]}}}`,
			Want: []string{"spec.devices.requests[0]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"}},
		{Name: "one name twice", Patch: `{"spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"c"}},{"name":"r","exactly":{"deviceClassName":"c"}}]}}}`,
			Want: []string{`spec.devices.requests[1]: Duplicate value: "r"`}},
		{Name: "capitals in a driver", Patch: `{"spec":{"devices":{` + request + `,"config":[{"opaque":{"driver":"D.example.com","parameters":{}}}]}}}`,
			Warnings: []string{`spec.devices.config[0].opaque.driver: driver names should be lowercase; "D.example.com" contains uppercase characters`}},
		{Name: "reservation without allocation", Old: `{"spec":{"devices":{` + request + `}}}`, Subresource: "status",
			Patch: `{"status":{"reservedFor":[{"resource":"pods","name":"p","uid":""}]}}`, Want: []string{
				"status.reservedFor[0].uid: Required value",
				"status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
			}},
		{Name: "share", Old: `{"spec":{"devices":{` + request + `}}}`, Subresource: "status",
			Patch: `{"status":{"allocation":{"devices":{"results":[{"request":"r","driver":"d","pool":"p","device":"e","shareID":"X"}]}}}}`,
			Want:  []string{`status.allocation.devices.results[0].shareID: Invalid value: "X": must be a lowercase UUID in 8-4-4-4-12 format`}},
	})
}

func TestSlice(t *testing.T) {
	observedtest.Attempts(t, resourceOf("resourceslices"), `{"spec":{"driver":"d","pool":{"name":"p","resourceSliceCount":1},"nodeName":"n"}}`, []observedtest.Attempt{
		{Name: "not all nodes", Patch: `{"spec":{"nodeName":null,"allNodes":false}}`, Want: []string{
			"spec.allNodes: Invalid value: false: must be either unset or set to true",
			"spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"}},
		{Name: "two places", Patch: `{"spec":{"allNodes":true}}`, Want: []string{
			"spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set"}},
		{Name: "version", Patch: `{"spec":{"devices":[{"name":"a","attributes":{"v":{"version":"1.2"}}}]}}`,
			Want: []string{`spec.devices[0].attributes[v].version: Invalid value: "1.2": must be a string compatible with semver.org spec 2.0.0`}},
		{Name: "lists are off", Patch: `{"spec":{"devices":[{"name":"a","attributes":{"v":{"ints":[1]}}}]}}`,
			Want: []string{`spec.devices[0].attributes[v]: Invalid value: "": exactly one value must be specified`}},
		{Name: "failure without success", Patch: `{"spec":{"devices":[{"name":"a","bindingFailureConditions":["F"]}]}}`,
			Want: []string{"spec.devices[0].bindingConditions: Invalid value: null: bindingConditions are required to use bindingFailureConditions"}},
	})
}

func TestTemplate(t *testing.T) {
	observedtest.Attempts(t, resourceOf("resourceclaimtemplates"), ``, []observedtest.Attempt{
		{Name: "immutable", Old: `{"spec":{"spec":{"devices":{` + request + `}}}}`, Patch: `{"spec":{"spec":{"devices":{"requests":null}}}}`,
			Want: []string{`spec: Invalid value: {"Spec":{"Devices":{"Requests":null,"Constraints":null,"Config":null}}}: field is immutable`}},
	})
}

func TestDropDeallocated(t *testing.T) {
	result := resourcev1.DeviceRequestAllocationResult{Driver: "d", Pool: "p", Device: "a"}
	old := &resourcev1.ResourceClaimStatus{
		Allocation: &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{result}}},
		Devices:    []resourcev1.AllocatedDeviceStatus{{Driver: "d", Pool: "p", Device: "a"}},
	}
	now := &resourcev1.ResourceClaimStatus{Devices: old.Devices}
	dropDeallocated(now, old)
	if now.Devices != nil {
		t.Errorf("kept %v", now.Devices)
	}
	kept := &resourcev1.ResourceClaimStatus{Allocation: old.Allocation, Devices: old.Devices}
	dropDeallocated(kept, old)
	if len(kept.Devices) != 1 {
		t.Error("lost the status of an allocated device")
	}
}

func TestAdminAccess(t *testing.T) {
	yes := true
	c := &resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{Exactly: &resourcev1.ExactDeviceRequest{}}, {Exactly: &resourcev1.ExactDeviceRequest{AdminAccess: &yes}}}}
	errs := AdminAccess(c)
	if len(errs) != 1 || errs[0].Field != "spec.devices.requests[1].adminAccess" {
		t.Error(errs)
	}
}
