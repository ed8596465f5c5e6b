package storage

import (
	"maps"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

var attributesClassHooks = scheme.Hooks[storagev1.VolumeAttributesClass]{
	ValidateCreate: validateAttributesClass,
	ValidateUpdate: func(c, old *storagev1.VolumeAttributesClass) field.ErrorList {
		var errs field.ErrorList
		if c.DriverName != old.DriverName {
			errs = append(errs, field.Forbidden(field.NewPath("driverName"), "updates to driverName are forbidden."))
		}
		if !maps.Equal(c.Parameters, old.Parameters) {
			errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
		}
		return append(errs, validateAttributesClass(c)...)
	},
}

func validateAttributesClass(c *storagev1.VolumeAttributesClass) field.ErrorList {
	errs := check.CSIDriverName(field.NewPath("driverName"), c.DriverName)
	return append(errs, validateParameters(c.Parameters, false, field.NewPath("parameters"))...)
}
