package resource

import (
	"fmt"
	"strconv"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxValidValues is how many amounts a policy may list.
const maxValidValues = 10

func validateCapacities(m map[resourcev1.QualifiedName]resourcev1.DeviceCapacity, key func(resourcev1.QualifiedName, *field.Path) field.ErrorList, shared bool, path *field.Path) field.ErrorList {
	return validateMap(m, -1, key, func(c *resourcev1.DeviceCapacity, path *field.Path) field.ErrorList {
		if c.RequestPolicy == nil {
			return nil
		}
		path = path.Child("requestPolicy")
		if !shared {
			return field.ErrorList{field.Forbidden(path, "allowMultipleAllocations must be true")}
		}
		return validatePolicy(c.Value, c.RequestPolicy, path)
	}, path)
}

func validatePolicy(capacity resource.Quantity, p *resourcev1.CapacityRequestPolicy, path *field.Path) field.ErrorList {
	if len(p.ValidValues) > 0 && p.ValidRange != nil {
		return field.ErrorList{field.Forbidden(path, `exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time`)}
	}
	switch {
	case len(p.ValidValues) > 0:
		if p.Default == nil {
			return field.ErrorList{field.Required(path.Child("default"), "required when validValues is defined")}
		}
		return validateValues(*p.Default, capacity, p.ValidValues, path.Child("validValues"))
	case p.ValidRange != nil:
		if p.Default == nil {
			return field.ErrorList{field.Required(path.Child("default"), "required when validRange is defined")}
		}
		return validateRange(*p.Default, capacity, p.ValidRange, path.Child("validRange"))
	}
	return nil
}

func validateValues(byDefault, capacity resource.Quantity, values []resource.Quantity, path *field.Path) field.ErrorList {
	found := false
	var before *resource.Quantity
	errs := validateSet(values, maxValidValues, func(q *resource.Quantity, path *field.Path) field.ErrorList {
		var errs field.ErrorList
		if q.Cmp(capacity) > 0 {
			errs = append(errs, field.Invalid(path, q.String(), "option is larger than capacity value: "+capacity.String()))
		}
		found = found || q.Cmp(byDefault) == 0
		if before != nil && before.Cmp(*q) > 0 {
			errs = append(errs, field.Invalid(path, q.String(), "values must be sorted in ascending order"))
		}
		before = q
		return errs
	}, func(q *resource.Quantity) int64 { return q.Value() }, func(n int64) any { return strconv.FormatInt(n, 10) }, path)
	if !found {
		errs = append(errs, field.Invalid(path, byDefault.String(), "default value is not valid according to the requestPolicy"))
	}
	return errs
}

func validateRange(byDefault, capacity resource.Quantity, r *resourcev1.CapacityRequestPolicyRange, path *field.Path) field.ErrorList {
	if r.Min == nil {
		return field.ErrorList{field.Required(path.Child("min"), "required when validRange is defined")}
	}
	var errs field.ErrorList
	at := path.Child("min")
	if byDefault.Cmp(*r.Min) < 0 {
		errs = append(errs, field.Invalid(at, byDefault.String(), "default is less than min: "+r.Min.String()))
	}
	if r.Min.Cmp(capacity) > 0 {
		errs = append(errs, field.Invalid(at, r.Min.String(), "min is larger than capacity value: "+capacity.String()))
	}
	if r.Max != nil {
		at := path.Child("max")
		if byDefault.Cmp(*r.Max) > 0 {
			errs = append(errs, field.Invalid(at, byDefault.String(), "default is more than max: "+r.Max.String()))
		}
		if r.Min.Cmp(*r.Max) > 0 {
			errs = append(errs, field.Invalid(at, r.Min.String(), "min is larger than max: "+r.Max.String()))
		}
		if r.Max.Cmp(capacity) > 0 {
			errs = append(errs, field.Invalid(at, r.Max.String(), "max is larger than capacity value: "+capacity.String()))
		}
	}
	return append(errs, validateStep(byDefault, capacity, r, path.Child("step"))...)
}

func validateStep(byDefault, capacity resource.Quantity, r *resourcev1.CapacityRequestPolicyRange, path *field.Path) field.ErrorList {
	if r.Step == nil {
		return nil
	}
	var errs field.ErrorList
	first := r.Min.DeepCopy()
	first.Add(*r.Step)
	if first.Cmp(capacity) > 0 {
		errs = append(errs, field.Invalid(path, r.Step.String(), fmt.Sprintf("one step %s is larger than capacity value: %s", first.String(), capacity.String())))
	}
	onStep := func(q *resource.Quantity) {
		step := r.Step.Value()
		if q == nil || step != 0 && (q.Value()-r.Min.Value())%step == 0 {
			return
		}
		errs = append(errs, field.Invalid(path, q.String(), fmt.Sprintf("value is not a multiple of a given step (%s) from (%s)", r.Step.String(), r.Min.String())))
	}
	onStep(r.Max)
	onStep(&byDefault)
	return errs
}
