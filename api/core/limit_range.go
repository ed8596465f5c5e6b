package core

import (
	"fmt"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

func limitRangeResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "LimitRange",
		Plural: "limitranges", Singular: "limitrange",
		ShortNames:    []string{"limits"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.LimitRange) },
		NewList:       func() runtime.Object { return new(corev1.LimitRangeList) },
		StoragePrefix: "limitranges",
		Strategy: scheme.Hooks[corev1.LimitRange]{
			Default:        DefaultLimitRange,
			ValidateCreate: ValidateLimitRange,
			ValidateUpdate: func(l, _ *corev1.LimitRange) field.ErrorList { return ValidateLimitRange(l) },
			CreateOnUpdate: true,
		}.Erase(),
	}
}

// ValidateLimitRange checks each limit by itself and that no type has two.
func ValidateLimitRange(l *corev1.LimitRange) field.ErrorList {
	var errs field.ErrorList
	seen := make(map[corev1.LimitType]bool, len(l.Spec.Limits))
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		path := field.NewPath("spec", "limits").Index(i)
		errs = append(errs, validateLimitType(item.Type, path.Child("type"))...)
		if seen[item.Type] {
			errs = append(errs, field.Duplicate(path.Child("type"), item.Type))
		}
		seen[item.Type] = true
		errs = append(errs, validateLimitNames(item, path)...)
		for _, name := range limitedNames(item) {
			errs = append(errs, validateLimit(item, name, path)...)
		}
	}
	return errs
}

func validateLimitType(t corev1.LimitType, path *field.Path) field.ErrorList {
	if errs := check.QualifiedName(path, string(t)); len(errs) > 0 {
		return errs
	}
	switch t {
	case corev1.LimitTypePod, corev1.LimitTypeContainer, corev1.LimitTypePersistentVolumeClaim:
		return nil
	}
	if !strings.Contains(string(t), "/") {
		return field.ErrorList{field.Invalid(path, t, "must be a standard limit type or fully qualified")}
	}
	return nil
}

func validateLimitNames(item *corev1.LimitRangeItem, path *field.Path) field.ErrorList {
	rule := validateResourceName
	if item.Type == corev1.LimitTypePod || item.Type == corev1.LimitTypeContainer {
		rule = validateContainerResourceName
	}
	names := func(list corev1.ResourceList, child string) field.ErrorList {
		var errs field.ErrorList
		for name := range list {
			errs = append(errs, rule(string(name), path.Child(child).Key(string(name)))...)
		}
		inOrder(errs)
		return errs
	}
	errs := append(names(item.Max, "max"), names(item.Min, "min")...)
	if item.Type == corev1.LimitTypePod {
		const no = "may not be specified when `type` is 'Pod'"
		if len(item.Default) > 0 {
			errs = append(errs, field.Forbidden(path.Child("default"), no))
		}
		if len(item.DefaultRequest) > 0 {
			errs = append(errs, field.Forbidden(path.Child("defaultRequest"), no))
		}
	} else {
		errs = append(errs, names(item.Default, "default")...)
		errs = append(errs, names(item.DefaultRequest, "defaultRequest")...)
	}
	if item.Type == corev1.LimitTypePersistentVolumeClaim {
		_, atLeast := item.Min[corev1.ResourceStorage]
		_, atMost := item.Max[corev1.ResourceStorage]
		if !atLeast && !atMost {
			errs = append(errs, field.Required(path.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
		}
	}
	return append(errs, names(item.MaxLimitRequestRatio, "maxLimitRequestRatio")...)
}

func limitedNames(item *corev1.LimitRangeItem) []corev1.ResourceName {
	var names []corev1.ResourceName
	for _, list := range []corev1.ResourceList{item.Max, item.Min, item.Default, item.DefaultRequest, item.MaxLimitRequestRatio} {
		for name := range list {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// validateLimit checks that one resource's minimum, request, limit and maximum
// rise in that order.
func validateLimit(item *corev1.LimitRangeItem, name corev1.ResourceName, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := func(child string) *field.Path { return path.Child(child).Key(string(name)) }
	get := func(list corev1.ResourceList) *resource.Quantity {
		if q, ok := list[name]; ok {
			return &q
		}
		return nil
	}
	// A quantity that is above another one is quoted as shown.
	above := func(a, b *resource.Quantity, child string, shown *resource.Quantity, format string, args ...any) {
		if a != nil && b != nil && a.Cmp(*b) > 0 {
			errs = append(errs, field.Invalid(at(child), shown.String(), fmt.Sprintf(format, args...)))
		}
	}
	minimum, maximum := get(item.Min), get(item.Max)
	request, limit := get(item.DefaultRequest), get(item.Default)
	above(minimum, maximum, "min", minimum, "min value %s is greater than max value %s", minimum, maximum)
	above(minimum, request, "defaultRequest", request, "min value %s is greater than default request value %s", minimum, request)
	above(request, maximum, "defaultRequest", request, "default request value %s is greater than max value %s", request, maximum)
	above(request, limit, "defaultRequest", request, "default request value %s is greater than default limit value %s", request, limit)
	above(minimum, limit, "default", minimum, "min value %s is greater than default value %s", minimum, limit)
	above(limit, maximum, "default", maximum, "default value %s is greater than max value %s", limit, maximum)

	if ratio := get(item.MaxLimitRequestRatio); ratio != nil {
		errs = append(errs, validateRatio(ratio, minimum, maximum, at("maxLimitRequestRatio"))...)
	}
	if limit != nil && request != nil && !allowsOvercommit(name) && limit.Cmp(*request) != 0 {
		errs = append(errs, field.Invalid(at("defaultRequest"), request.String(),
			fmt.Sprintf("default value %s must equal to defaultRequest value %s in %s", limit, request, name)))
	}
	return errs
}

func validateRatio(ratio, minimum, maximum *resource.Quantity, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if ratio.Cmp(*resource.NewQuantity(1, resource.DecimalSI)) < 0 {
		errs = append(errs, field.Invalid(path, ratio.String(), fmt.Sprintf("ratio %s is less than 1", ratio)))
	}
	if minimum == nil || maximum == nil {
		return errs
	}
	most, least, asked := float64(maximum.Value()), float64(minimum.Value()), float64(ratio.Value())
	// Thousandths where they fit: 1500m is not 2.
	if maximum.Value() < math.MaxInt64/1000 && minimum.Value() < math.MaxInt64/1000 && ratio.Value() < math.MaxInt64/1000 {
		most, least, asked = float64(maximum.MilliValue()), float64(minimum.MilliValue()), float64(ratio.MilliValue())/1000
	}
	if asked > most/least {
		errs = append(errs, field.Invalid(path, ratio.String(), fmt.Sprintf("ratio %s is greater than max/min = %f", ratio, most/least)))
	}
	return errs
}
