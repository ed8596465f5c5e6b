package resource

import resourcev1 "k8s.io/api/resource/v1"

// The fields here belong to features that are off in v1.37: they are dropped
// unless the object in storage uses them already.

func dropFromClaim(c, old *resourcev1.DeviceClaim) {
	if old != nil && hasDerived(old) {
		return
	}
	for i := range c.Requests {
		r := &c.Requests[i]
		if r.Exactly != nil {
			r.Exactly.DerivedAttributes = nil
		}
		for j := range r.FirstAvailable {
			r.FirstAvailable[j].DerivedAttributes = nil
		}
	}
}

func hasDerived(c *resourcev1.DeviceClaim) bool {
	for i := range c.Requests {
		r := &c.Requests[i]
		if r.Exactly != nil && r.Exactly.DerivedAttributes != nil {
			return true
		}
		for j := range r.FirstAvailable {
			if r.FirstAvailable[j].DerivedAttributes != nil {
				return true
			}
		}
	}
	return false
}

func dropFromStatus(s, old *resourcev1.ResourceClaimStatus) {
	if s.Allocation == nil || old.Allocation != nil {
		return
	}
	for i := range s.Allocation.Devices.Results {
		s.Allocation.Devices.Results[i].SkipNodeOperations = nil
	}
}

func dropFromSlice(s, old *resourcev1.ResourceSliceSpec) {
	var had uses
	if old != nil {
		had = usesOf(old)
	}
	if !had.partitionType {
		s.PartitionTypeAttribute = nil
	}
	if !had.skipOperations {
		s.SkipNodeOperations = nil
	}
	for i := range s.Devices {
		d := &s.Devices[i]
		if !had.nodeResources {
			d.NodeAllocatableResources = nil
		}
		for j := range d.ConsumesCounters {
			if !had.groups {
				d.ConsumesCounters[j].CompatibilityGroups = nil
			}
		}
		for name, a := range d.Attributes {
			if !had.lists && isList(&a) {
				a.IntValues, a.BoolValues, a.StringValues, a.VersionValues = nil, nil, nil, nil
				d.Attributes[name] = a
			}
		}
	}
}

type uses struct{ partitionType, skipOperations, nodeResources, groups, lists bool }

func usesOf(s *resourcev1.ResourceSliceSpec) uses {
	u := uses{partitionType: s.PartitionTypeAttribute != nil, skipOperations: s.SkipNodeOperations != nil}
	for i := range s.Devices {
		d := &s.Devices[i]
		u.nodeResources = u.nodeResources || d.NodeAllocatableResources != nil
		for j := range d.ConsumesCounters {
			u.groups = u.groups || d.ConsumesCounters[j].CompatibilityGroups != nil
		}
		for _, a := range d.Attributes {
			u.lists = u.lists || isList(&a)
		}
	}
	return u
}

func isList(a *resourcev1.DeviceAttribute) bool {
	return a.IntValues != nil || a.BoolValues != nil || a.StringValues != nil || a.VersionValues != nil
}
