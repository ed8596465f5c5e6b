package resource

import (
	"fmt"
	"regexp"

	resourcev1 "k8s.io/api/resource/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

// semantic is the version format of semver.org, 2.0.0.
var semantic = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?` +
	`(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$`)

func validateDevice(d *resourcev1.Device, perDevice bool, path *field.Path) field.ErrorList {
	errs := check.Label(path.Child("name"), d.Name)
	if n := len(d.Attributes) + len(d.Capacity); n > resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		errs = append(errs, field.Invalid(path, n, fmt.Sprintf("the total number of attributes and capacities must not exceed %d",
			resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice)))
	}
	qualified := func(n resourcev1.QualifiedName, path *field.Path) field.ErrorList {
		return validateQualifiedName(string(n), path)
	}
	errs = append(errs, validateAttributes(d.Attributes, qualified, path.Child("attributes"))...)
	shared := d.AllowMultipleAllocations != nil && *d.AllowMultipleAllocations
	errs = append(errs, validateCapacities(d.Capacity, qualified, shared, path.Child("capacity"))...)
	errs = append(errs, validateList(d.Taints, resourcev1.DeviceTaintsMaxLength, validateTaint, path.Child("taints"))...)
	errs = append(errs, validateSet(d.ConsumesCounters, resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice,
		func(c *resourcev1.DeviceCounterConsumption, path *field.Path) field.ErrorList {
			errs := requiredLabel(path.Child("counterSet"), c.CounterSet)
			return append(errs, validateCounters(c.Counters, resourcev1.ResourceSliceMaxCountersPerDeviceCounterConsumption, path.Child("counters"))...)
		}, func(c *resourcev1.DeviceCounterConsumption) string { return c.CounterSet }, asIs[string], path.Child("consumesCounters"))...)
	errs = append(errs, validatePlacement(d, perDevice, path)...)
	return append(errs, validateBindingConditions(d.BindingConditions, d.BindingFailureConditions, path)...)
}

func validatePlacement(d *resourcev1.Device, perDevice bool, path *field.Path) field.ErrorList {
	if !perDevice {
		if d.NodeName == nil && d.NodeSelector == nil && d.AllNodes == nil {
			return nil
		}
		return field.ErrorList{field.Invalid(path, nil,
			"`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec")}
	}
	var p placement
	p.nodeName(d.NodeName, path)
	p.nodeSelector(d.NodeSelector, path)
	p.flag(d.AllNodes, "allNodes", path)
	const one = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
	return p.one(one, one, path)
}

func validateAttributes(m map[resourcev1.QualifiedName]resourcev1.DeviceAttribute, key func(resourcev1.QualifiedName, *field.Path) field.ErrorList, path *field.Path) field.ErrorList {
	return validateMap(m, -1, key, validateAttribute, path)
}

func validateAttribute(a *resourcev1.DeviceAttribute, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	set := 0
	for _, given := range []bool{a.IntValue != nil, a.BoolValue != nil, a.StringValue != nil, a.VersionValue != nil,
		a.IntValues != nil, a.BoolValues != nil, a.StringValues != nil, a.VersionValues != nil} {
		if given {
			set++
		}
	}
	if a.StringValue != nil {
		errs = append(errs, validateText(*a.StringValue, path.Child("string"))...)
	}
	if a.VersionValue != nil {
		errs = append(errs, validateVersion(*a.VersionValue, path.Child("version"))...)
	}
	errs = append(errs, validateList(a.StringValues, -1, func(s *string, path *field.Path) field.ErrorList { return validateText(*s, path) }, path.Child("strings"))...)
	errs = append(errs, validateList(a.VersionValues, -1, func(s *string, path *field.Path) field.ErrorList { return validateVersion(*s, path) }, path.Child("versions"))...)
	switch set {
	case 0:
		errs = append(errs, field.Invalid(path, "", "exactly one value must be specified"))
	case 1:
	default:
		errs = append(errs, field.Invalid(path, internalform.Of(a), "exactly one value must be specified"))
	}
	return errs
}

func validateText(s string, path *field.Path) field.ErrorList {
	if len(s) > resourcev1.DeviceAttributeMaxValueLength {
		return field.ErrorList{field.TooLong(path, s, resourcev1.DeviceAttributeMaxValueLength)}
	}
	return nil
}

func validateVersion(s string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !semantic.MatchString(s) {
		errs = append(errs, field.Invalid(path, s, "must be a string compatible with semver.org spec 2.0.0"))
	}
	return append(errs, validateText(s, path)...)
}

func validateTaint(t *resourcev1.DeviceTaint, path *field.Path) field.ErrorList {
	errs := metavalidation.ValidateLabelName(t.Key, path.Child("key"))
	if t.Value != "" {
		errs = append(errs, check.Messages(path.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
	}
	if t.Effect == "" {
		return append(errs, field.Required(path.Child("effect"), ""))
	}
	return append(errs, validateEffect(t.Effect, path.Child("effect"))...)
}

// validateBindingConditions wants conditions of success and of failure, or
// neither.
func validateBindingConditions(success, failure []string, path *field.Path) field.ErrorList {
	name := func(c *string, path *field.Path) field.ErrorList { return metavalidation.ValidateLabelName(*c, path) }
	self := func(c *string) string { return *c }
	errs := validateSet(success, resourcev1.BindingConditionsMaxSize, name, self, asIs[string], path.Child("bindingConditions"))
	errs = append(errs, validateSet(failure, resourcev1.BindingFailureConditionsMaxSize, name, self, asIs[string], path.Child("bindingFailureConditions"))...)
	if len(success) == 0 && len(failure) > 0 {
		errs = append(errs, field.Invalid(path.Child("bindingConditions"), success, "bindingConditions are required to use bindingFailureConditions"))
	}
	if len(failure) == 0 && len(success) > 0 {
		errs = append(errs, field.Invalid(path.Child("bindingFailureConditions"), failure, "bindingFailureConditions are required to use bindingConditions"))
	}
	return errs
}
