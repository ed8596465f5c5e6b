package storage

import (
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

var capacityHooks = scheme.Hooks[storagev1.CSIStorageCapacity]{
	ValidateCreate: func(c *storagev1.CSIStorageCapacity) field.ErrorList {
		return validateCapacity(c, metavalidation.LabelSelectorValidationOptions{})
	},
	ValidateUpdate: func(c, old *storagev1.CSIStorageCapacity) field.ErrorList {
		errs := validateCapacity(c, metavalidation.LabelSelectorValidationOptions{
			AllowInvalidLabelValueInSelector: hasInvalidLabelValue(old.NodeTopology)})
		errs = append(errs, check.Unchanged(field.NewPath("nodeTopology"), c.NodeTopology, old.NodeTopology, nil)...)
		return append(errs, check.Unchanged(field.NewPath("storageClassName"), c.StorageClassName, old.StorageClassName, nil)...)
	},
	WarnCreate: warnCapacity,
	WarnUpdate: func(c, _ *storagev1.CSIStorageCapacity) []string { return warnCapacity(c) },
}

func hasInvalidLabelValue(s *metav1.LabelSelector) bool {
	return s != nil && metavalidation.LabelSelectorHasInvalidLabelValue(s)
}

func validateCapacity(c *storagev1.CSIStorageCapacity, o metavalidation.LabelSelectorValidationOptions) field.ErrorList {
	errs := metavalidation.ValidateLabelSelector(c.NodeTopology, o, field.NewPath("nodeTopology"))
	errs = append(errs, check.Subdomain(field.NewPath("storageClassName"), c.StorageClassName)...)
	errs = append(errs, validateQuantity(c.Capacity, field.NewPath("capacity"))...)
	return append(errs, validateQuantity(c.MaximumVolumeSize, field.NewPath("maximumVolumeSize"))...)
}

func validateQuantity(q *resource.Quantity, path *field.Path) field.ErrorList {
	if q == nil || q.Sign() >= 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, q.String(), "must be greater than or equal to 0")}
}

func warnCapacity(c *storagev1.CSIStorageCapacity) []string {
	if c.NodeTopology == nil {
		return nil
	}
	var warnings []string
	path := field.NewPath("nodeTopology")
	for label := range c.NodeTopology.MatchLabels {
		if w := check.DeprecatedNodeLabel(label); w != "" {
			warnings = append(warnings, path.Child("matchLabels").Key(label).String()+": "+w)
		}
	}
	slices.Sort(warnings)
	for i, e := range c.NodeTopology.MatchExpressions {
		if w := check.DeprecatedNodeLabel(e.Key); w != "" {
			warnings = append(warnings, path.Child("matchExpressions").Index(i).Child("key").String()+": "+w)
		}
	}
	return warnings
}
