package resource

import (
	"context"
	"slices"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/api/validate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/core"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

// maxAllocationConfig is the most of a class and a claim together.
const maxAllocationConfig = 2 * resourcev1.DeviceConfigMaxSize

var claimStatusHooks = scheme.UpdateHooks[resourcev1.ResourceClaim]{
	PrepareUpdate: func(_ scheme.Context, c, old *resourcev1.ResourceClaim) {
		c.Spec = old.Spec
		metav1.ResetObjectMetaForStatus(&c.ObjectMeta, &old.ObjectMeta)
		dropFromStatus(&c.Status, &old.Status)
		dropDeallocated(&c.Status, &old.Status)
	},
	ValidateUpdate: func(c, old *resourcev1.ResourceClaim) field.ErrorList {
		return validateClaimStatus(c, &old.Status, field.NewPath("status"))
	},
	ResetFields: []string{"metadata", "spec"},
}

// deviceID is how messages show a device.
type deviceID struct{ Driver, Pool, Device, ShareID string }

func allocatedOf(a *resourcev1.AllocationResult) map[deviceID]bool {
	all := map[deviceID]bool{}
	if a == nil {
		return all
	}
	for _, r := range a.Devices.Results {
		id := deviceID{Driver: r.Driver, Pool: r.Pool, Device: r.Device}
		if r.ShareID != nil {
			id.ShareID = string(*r.ShareID)
		}
		all[id] = true
	}
	return all
}

func idOf(d *resourcev1.AllocatedDeviceStatus) deviceID {
	id := deviceID{Driver: d.Driver, Pool: d.Pool, Device: d.Device}
	if d.ShareID != nil {
		id.ShareID = *d.ShareID
	}
	return id
}

// dropDeallocated removes the status of devices that the update gives back.
func dropDeallocated(s, old *resourcev1.ResourceClaimStatus) {
	before, now := allocatedOf(old.Allocation), allocatedOf(s.Allocation)
	s.Devices = slices.DeleteFunc(slices.Clone(s.Devices), func(d resourcev1.AllocatedDeviceStatus) bool {
		id := idOf(&d)
		return before[id] && !now[id]
	})
	if len(s.Devices) == 0 {
		s.Devices = nil
	}
}

func validateClaimStatus(c *resourcev1.ResourceClaim, old *resourcev1.ResourceClaimStatus, path *field.Path) field.ErrorList {
	s := &c.Status
	errs := validateSet(s.ReservedFor, resourcev1.ResourceClaimReservedForMaxSize, validateConsumer,
		func(r *resourcev1.ResourceClaimConsumerReference) types.UID { return r.UID }, asIs[types.UID], path.Child("reservedFor"))
	allocated := allocatedOf(s.Allocation)
	errs = append(errs, validateSet(s.Devices, -1, func(d *resourcev1.AllocatedDeviceStatus, path *field.Path) field.ErrorList {
		return validateDeviceStatus(d, allocated, path)
	}, idOf, asIs[deviceID], path.Child("devices"))...)
	errs = append(errs, validateReservations(c, old, path.Child("reservedFor"))...)
	at := path.Child("allocation")
	switch {
	case s.Allocation == nil:
	case old.Allocation != nil:
		errs = append(errs, check.Unchanged(at, s.Allocation, old.Allocation, internalform.Of)...)
	default:
		errs = append(errs, validateAllocation(s.Allocation, namesOf(&c.Spec.Devices), at)...)
	}
	return errs
}

// validateReservations wants an allocation, and nobody new once the claim is
// to be deleted.
func validateReservations(c *resourcev1.ResourceClaim, old *resourcev1.ResourceClaimStatus, path *field.Path) field.ErrorList {
	s := &c.Status
	if len(s.ReservedFor) == 0 {
		return nil
	}
	if s.Allocation == nil {
		return field.ErrorList{field.Forbidden(path, "may not be specified when `allocated` is not set")}
	}
	if c.DeletionTimestamp == nil {
		return nil
	}
	for _, r := range s.ReservedFor {
		if !slices.Contains(old.ReservedFor, r) {
			return field.ErrorList{field.Forbidden(path, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set")}
		}
	}
	return nil
}

func validateConsumer(r *resourcev1.ResourceClaimConsumerReference, path *field.Path) field.ErrorList {
	errs := check.Required(path.Child("resource"), r.Resource)
	errs = append(errs, check.Required(path.Child("name"), r.Name)...)
	return append(errs, check.Required(path.Child("uid"), string(r.UID))...)
}

func validateAllocation(a *resourcev1.AllocationResult, names requestNames, path *field.Path) field.ErrorList {
	devices := path.Child("devices")
	errs := validateList(a.Devices.Results, resourcev1.AllocationResultsMaxSize, func(r *resourcev1.DeviceRequestAllocationResult, path *field.Path) field.ErrorList {
		return validateResult(r, names, path)
	}, devices.Child("results"))
	errs = append(errs, validateList(a.Devices.Config, maxAllocationConfig, func(c *resourcev1.DeviceAllocationConfiguration, path *field.Path) field.ErrorList {
		return validateAllocationConfig(c, names, path)
	}, devices.Child("config"))...)
	if a.NodeSelector != nil {
		errs = append(errs, core.ValidateNodeSelector(a.NodeSelector, false, path.Child("nodeSelector"))...)
	}
	return errs
}

func validateResult(r *resourcev1.DeviceRequestAllocationResult, names requestNames, path *field.Path) field.ErrorList {
	errs := validateReference(r.Request, names, path.Child("request"))
	errs = append(errs, check.CSIDriverName(path.Child("driver"), r.Driver)...)
	errs = append(errs, validatePoolName(r.Pool, path.Child("pool"))...)
	errs = append(errs, check.Label(path.Child("device"), r.Device)...)
	errs = append(errs, validateList(r.Tolerations, resourcev1.DeviceTolerationsMaxLength, validateToleration, path.Child("tolerations"))...)
	errs = append(errs, validateBindingConditions(r.BindingConditions, r.BindingFailureConditions, path)...)
	return append(errs, validateUUID(r.ShareID, path.Child("shareID"))...)
}

func validateUUID[T ~string](id *T, path *field.Path) field.ErrorList {
	if id == nil {
		return nil
	}
	return validate.UUID(context.Background(), operation.Operation{}, path, id, nil)
}

func validateAllocationConfig(c *resourcev1.DeviceAllocationConfiguration, names requestNames, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if c.Source == "" {
		errs = append(errs, field.Required(path.Child("source"), ""))
	} else {
		errs = append(errs, check.OneOf(path.Child("source"), c.Source, resourcev1.AllocationConfigSourceClaim, resourcev1.AllocationConfigSourceClass)...)
	}
	errs = append(errs, validateReferences(c.Requests, names, path.Child("requests"))...)
	return append(errs, validateConfiguration(&c.DeviceConfiguration, false, path)...)
}

func validateDeviceStatus(d *resourcev1.AllocatedDeviceStatus, allocated map[deviceID]bool, path *field.Path) field.ErrorList {
	errs := check.CSIDriverName(path.Child("driver"), d.Driver)
	errs = append(errs, validatePoolName(d.Pool, path.Child("pool"))...)
	errs = append(errs, check.Label(path.Child("device"), d.Device)...)
	if id := idOf(d); !allocated[id] {
		errs = append(errs, field.Invalid(path, id, "must be an allocated device in the claim"))
	}
	errs = append(errs, validateUUID(d.ShareID, path.Child("shareID"))...)
	if len(d.Conditions) > resourcev1.AllocatedDeviceStatusMaxConditions {
		errs = append(errs, field.TooMany(path.Child("conditions"), len(d.Conditions), resourcev1.AllocatedDeviceStatusMaxConditions))
	}
	errs = append(errs, check.Conditions(path.Child("conditions"), d.Conditions)...)
	if d.Data != nil && len(d.Data.Raw) > 0 {
		errs = append(errs, validateRaw(*d.Data, false, resourcev1.AllocatedDeviceStatusDataMaxLength, path.Child("data"))...)
	}
	return append(errs, validateNetworkData(d.NetworkData, path.Child("networkData"))...)
}

func validateNetworkData(n *resourcev1.NetworkDeviceData, path *field.Path) field.ErrorList {
	if n == nil {
		return nil
	}
	var errs field.ErrorList
	if len(n.InterfaceName) > resourcev1.NetworkDeviceDataInterfaceNameMaxLength {
		errs = append(errs, field.TooLong(path.Child("interfaceName"), "", resourcev1.NetworkDeviceDataInterfaceNameMaxLength))
	}
	if len(n.HardwareAddress) > resourcev1.NetworkDeviceDataHardwareAddressMaxLength {
		errs = append(errs, field.TooLong(path.Child("hardwareAddress"), "", resourcev1.NetworkDeviceDataHardwareAddressMaxLength))
	}
	return append(errs, validateSet(n.IPs, resourcev1.NetworkDeviceDataMaxIPs, func(ip *string, path *field.Path) field.ErrorList {
		return validation.IsValidInterfaceAddress(path, *ip)
	}, func(ip *string) string { return *ip }, asIs[string], path.Child("ips"))...)
}
