package resource

import (
	"k8s.io/api/resource/v1alpha3"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/declared"
	"xebec.dev/api/scheme"
	"xebec.dev/api/version"
)

type poolRequest = v1alpha3.ResourcePoolStatusRequest

// poolRules are what the types of v1alpha3 declare.
var poolRules = declared.Parse(`
ResourcePoolStatusRequestSpec
  driver:                        required format=k8s-long-name-caseless
  poolName:                      format=k8s-resource-pool-name
  limit:                         minimum=1 maximum=1000
  defaultPartitionTypeAttribute: format=k8s-resource-fully-qualified-name
ResourcePoolStatusRequestStatus
  poolCount:  required minimum=0
  pools:      maxItems=1000
  conditions: maxItems=10
PoolStatus
  driver:             required format=k8s-long-name-caseless
  poolName:           required format=k8s-resource-pool-name
  generation:         minimum=0
  resourceSliceCount: minimum=1
  totalDevices:       minimum=0
  allocatedDevices:   minimum=0
  availableDevices:   minimum=0
  unavailableDevices: minimum=0
  nodeName:           format=k8s-long-name
  validationError:    maxBytes=256
  partitionSummary:   maxItems=32
PartitionTypeStatus
  attribute:   required
  type:        required
  total:       required minimum=0
  allocatable: required minimum=0
ShareableSummaryStatus
  fullyAvailableDevices:     required minimum=0
  partiallyAvailableDevices: required minimum=0
  capacity:                  maxItems=32
ShareableCapacityStatus
  name:      required
  total:     required
  consumed:  required
  available: required
`)

func poolRequests() scheme.Resource {
	spec := field.NewPath("spec")
	return scheme.Resource{
		Group: group, Version: "v1alpha3", Kind: "ResourcePoolStatusRequest",
		Plural: "resourcepoolstatusrequests", Singular: "resourcepoolstatusrequest",
		New:           func() runtime.Object { return new(poolRequest) },
		NewList:       func() runtime.Object { return new(v1alpha3.ResourcePoolStatusRequestList) },
		Served:        []scheme.Version{version.Off(version.Own(group, "v1alpha3", &poolRequest{}))},
		StoragePrefix: "resourcepoolstatusrequests",
		Columns:       plainColumns(),
		Row:           scheme.Rows(func(r *poolRequest, now metav1.Time) []any { return plainRow(&r.ObjectMeta, now) }),
		Strategy: scheme.Hooks[poolRequest]{
			Default: func(r *poolRequest) {
				if r.Spec.Limit == nil {
					limit := v1alpha3.ResourcePoolStatusRequestLimitDefault
					r.Spec.Limit = &limit
				}
			},
			PrepareCreate:  func(_ scheme.Context, r *poolRequest) { r.Status = nil },
			PrepareUpdate:  func(_ scheme.Context, r, old *poolRequest) { r.Status = old.Status.DeepCopy() },
			ValidateCreate: func(r *poolRequest) field.ErrorList { return poolRules.Create(spec, &r.Spec) },
			ValidateUpdate: func(r, old *poolRequest) field.ErrorList {
				if apiequality.Semantic.DeepEqual(&r.Spec, &old.Spec) {
					return nil
				}
				return field.ErrorList{field.Invalid(spec, nil, "field is immutable")}
			},
			ResetFields: []string{"status"},
		}.Erase(),
		Subresources: []scheme.Subresource{{
			Name: "status", Verbs: []string{"get", "patch", "update"},
			Update: scheme.UpdateHooks[poolRequest]{
				PrepareUpdate: func(_ scheme.Context, r, old *poolRequest) {
					metav1.ResetObjectMetaForStatus(&r.ObjectMeta, &old.ObjectMeta)
					old.Spec.DeepCopyInto(&r.Spec)
				},
				ValidateUpdate: validatePoolStatus,
				ResetFields:    []string{"metadata", "spec"},
			}.Pointer(),
		}},
	}
}

// validatePoolStatus lets the answer be given once.
func validatePoolStatus(r, old *poolRequest) field.ErrorList {
	path := field.NewPath("status")
	switch {
	case old.Status != nil && !apiequality.Semantic.DeepEqual(r.Status, old.Status):
		return field.ErrorList{field.Invalid(path, nil, "field is immutable")}
	case r.Status == nil || old.Status != nil:
		return nil
	}
	errs := poolRules.Create(path, r.Status)
	errs = append(errs, check.Conditions(path.Child("conditions"), r.Status.Conditions)...)
	pools := path.Child("pools")
	for i := range r.Status.Pools {
		seen := map[[2]string]bool{}
		for k, p := range r.Status.Pools[i].PartitionSummary {
			key := [2]string{p.Attribute, p.Type}
			if seen[key] {
				errs = append(errs, field.Duplicate(pools.Index(i).Child("partitionSummary").Index(k), p.Attribute+"/"+p.Type))
			}
			seen[key] = true
		}
	}
	return errs
}
