package resource

import (
	"context"
	"encoding/json"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/declared/declaredtest"
	"xebec.dev/api/scheme"
)

const (
	claimBase = `{"metadata":{"name":"c"},"spec":{"devices":{
		"requests":[{"name":"r","exactly":{"deviceClassName":"c","selectors":[{"cel":{"expression":"true"}}],"allocationMode":"ExactCount","count":1,"tolerations":[{"key":"a","operator":"Equal","value":"b","effect":"NoSchedule"}]}},
			{"name":"s","firstAvailable":[{"name":"a","deviceClassName":"c","allocationMode":"All","selectors":[{"cel":{"expression":"true"}}],"tolerations":[{"operator":"Exists"}]}]}],
		"constraints":[{"requests":["r"],"matchAttribute":"a.b/c"},{"requests":["r","s"],"distinctAttribute":"a.b/c"}],
		"config":[{"requests":["r"],"opaque":{"driver":"a.b","parameters":{"x":1}}}]}}}`
	statusBase = `{"metadata":{"name":"c"},"spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"c","allocationMode":"All"}}]}},"status":{
		"allocation":{"devices":{"results":[{"request":"r","driver":"a.b","pool":"p","device":"d","tolerations":[{"operator":"Exists"}],"bindingConditions":["a"],"bindingFailureConditions":["b"],"shareID":"11111111-1111-1111-1111-111111111111"}],
			"config":[{"source":"FromClass","requests":["r"],"opaque":{"driver":"a.b","parameters":{"x":1}}}]}},
		"reservedFor":[{"resource":"pods","name":"p","uid":"1"}],
		"devices":[{"driver":"a.b","pool":"p","device":"d","shareID":"11111111-1111-1111-1111-111111111111","conditions":[{"type":"a","status":"True","reason":"R","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}],
			"networkData":{"interfaceName":"e","ips":["10.0.0.1/24"],"hardwareAddress":"a"}}]}}`
	sliceBase = `{"metadata":{"name":"s"},"spec":{"driver":"a.b","nodeName":"n","pool":{"name":"p","generation":1,"resourceSliceCount":1},"devices":[
		{"name":"d","attributes":{"a":{"int":1},"b":{"string":"x"},"c":{"version":"1.0.0"},"d":{"bool":true}},"capacity":{"a":{"value":"1"}},
			"consumesCounters":[{"counterSet":"c","counters":{"a":{"value":"1"}}}],"taints":[{"key":"a","effect":"NoSchedule"}],"bindingConditions":["a"],"bindingFailureConditions":["b"]}]}}`
	countersBase = `{"metadata":{"name":"s"},"spec":{"driver":"a.b","nodeName":"n","pool":{"name":"p","generation":1,"resourceSliceCount":1},
		"sharedCounters":[{"name":"c","counters":{"a":{"value":"1"}}},{"name":"d","counters":{"a":{"value":"1"}}}]}}`
	classBase = `{"metadata":{"name":"c"},"spec":{"selectors":[{"cel":{"expression":"true"}}],"config":[{"opaque":{"driver":"a.b","parameters":{"x":1}}}],"extendedResourceName":"a.b/c"}}`
	ruleBase  = `{"metadata":{"name":"c"},"spec":{"deviceSelector":{"driver":"a.b","pool":"p","device":"d"},"taint":{"key":"a","value":"b","effect":"NoExecute"}}}`
)

// declaredOptions are the features that the declarations ask for, as they are
// in v1.37.
var declaredOptions = map[string]bool{"DRAPartitionableDevicesType": false}

func TestDeclared(t *testing.T) {
	ctx, spec := context.Background(), field.NewPath("spec")
	create := operation.Operation{Type: operation.Create, Options: declaredOptions}
	v := validator{}
	now := scheme.Context{}
	for name, c := range map[string]struct {
		base  string
		check func(object []byte) (ours, declared field.ErrorList, err error)
	}{
		"claim": {claimBase, func(b []byte) (ours, declared field.ErrorList, err error) {
			var c resourcev1.ResourceClaim
			if err = json.Unmarshal(b, &c); err != nil {
				return
			}
			h := v.claimHooks()
			h.Default(&c)
			h.PrepareCreate(now, &c)
			return h.ValidateCreate(&c), resourcev1.Validate_ResourceClaimSpec(ctx, create, spec, &c.Spec, nil), nil
		}},
		"status": {statusBase, func(b []byte) (ours, declared field.ErrorList, err error) {
			var c resourcev1.ResourceClaim
			if err = json.Unmarshal(b, &c); err != nil {
				return
			}
			old := c.DeepCopy()
			old.Status = resourcev1.ResourceClaimStatus{}
			claimStatusHooks.PrepareUpdate(now, &c, old)
			update := operation.Operation{Type: operation.Update, Options: declaredOptions}
			return claimStatusHooks.ValidateUpdate(&c, old), resourcev1.Validate_ResourceClaimStatus(ctx, update, field.NewPath("status"), &c.Status, &old.Status), nil
		}},
		"slice":    {sliceBase, checkSlice},
		"counters": {countersBase, checkSlice},
		"class": {classBase, func(b []byte) (ours, declared field.ErrorList, err error) {
			var c resourcev1.DeviceClass
			if err = json.Unmarshal(b, &c); err != nil {
				return
			}
			return v.classHooks().ValidateCreate(&c), resourcev1.Validate_DeviceClassSpec(ctx, create, spec, &c.Spec, nil), nil
		}},
		"rule": {ruleBase, func(b []byte) (ours, declared field.ErrorList, err error) {
			var r resourcev1.DeviceTaintRule
			if err = json.Unmarshal(b, &r); err != nil {
				return
			}
			return validateTaintRule(&r.Spec, nil), resourcev1.Validate_DeviceTaintRuleSpec(ctx, create, spec, &r.Spec, nil), nil
		}},
	} {
		t.Run(name, func(t *testing.T) { declaredtest.Compare(t, c.base, c.check) })
	}
}

func checkSlice(b []byte) (ours, declared field.ErrorList, err error) {
	var s resourcev1.ResourceSlice
	if err = json.Unmarshal(b, &s); err != nil {
		return
	}
	sliceHooks.PrepareCreate(scheme.Context{}, &s)
	create := operation.Operation{Type: operation.Create, Options: declaredOptions}
	return sliceHooks.ValidateCreate(&s), resourcev1.Validate_ResourceSliceSpec(context.Background(), create, field.NewPath("spec"), &s.Spec, nil), nil
}
