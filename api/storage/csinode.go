package storage

import (
	"fmt"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

// maxNodeIDLength is in bytes.
const maxNodeIDLength = 192

// Storage health in the status belongs to a feature that is off in v1.37.
var csiNodeHooks = scheme.Hooks[storagev1.CSINode]{
	PrepareCreate: func(_ scheme.Context, n *storagev1.CSINode) { n.Status = storagev1.CSINodeStatus{} },
	PrepareUpdate: func(_ scheme.Context, n, old *storagev1.CSINode) { n.Status = old.Status },
	ValidateCreate: func(n *storagev1.CSINode) field.ErrorList {
		return validateDrivers(n.Spec.Drivers, field.NewPath("spec", "drivers"))
	},
	ValidateUpdate: func(n, old *storagev1.CSINode) field.ErrorList {
		path := field.NewPath("spec", "drivers")
		errs := validateDrivers(n.Spec.Drivers, path)
		for i := range old.Spec.Drivers {
			for j := range n.Spec.Drivers {
				if d := &n.Spec.Drivers[j]; driverChanged(d, &old.Spec.Drivers[i]) {
					errs = append(errs, field.Invalid(path, internalform.Of(*d), check.Immutable))
				}
			}
		}
		return errs
	},
}

// driverChanged lets the number of allocatable volumes change.
func driverChanged(d, old *storagev1.CSINodeDriver) bool {
	return d.Name == old.Name && (d.NodeID != old.NodeID || !slices.Equal(d.TopologyKeys, old.TopologyKeys))
}

func validateDrivers(drivers []storagev1.CSINodeDriver, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range drivers {
		d, at := &drivers[i], path.Index(i)
		errs = append(errs, check.CSIDriverName(at.Child("name"), d.Name)...)
		if d.NodeID == "" {
			errs = append(errs, field.Required(at.Child("nodeID"), ""))
		}
		if len(d.NodeID) > maxNodeIDLength {
			errs = append(errs, field.Invalid(at.Child("nodeID"), d.NodeID, fmt.Sprintf("must be %d characters or less", maxNodeIDLength)))
		}
		if d.Allocatable != nil && d.Allocatable.Count != nil {
			errs = append(errs, validation.ValidateNonnegativeField(int64(*d.Allocatable.Count), at.Child("allocatable", "count"))...)
		}
		if slices.ContainsFunc(drivers[:i], func(o storagev1.CSINodeDriver) bool { return o.Name == d.Name }) {
			errs = append(errs, field.Duplicate(at.Child("name"), d.Name))
		}
		errs = append(errs, validateTopologyKeys(d.TopologyKeys, at)...)
	}
	return errs
}

// validateTopologyKeys puts errors on the driver, not on the key.
func validateTopologyKeys(keys []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, k := range keys {
		if k == "" {
			errs = append(errs, field.Required(path, ""))
		}
		if slices.Contains(keys[:i], k) {
			errs = append(errs, field.Duplicate(path, k))
		}
		errs = append(errs, check.QualifiedName(path, k)...)
	}
	return errs
}
