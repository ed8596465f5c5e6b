package resource

import (
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

func (v validator) claimHooks() scheme.Hooks[resourcev1.ResourceClaim] {
	return scheme.Hooks[resourcev1.ResourceClaim]{
		Default: defaultClaim,
		PrepareCreate: func(_ scheme.Context, c *resourcev1.ResourceClaim) {
			c.Status = resourcev1.ResourceClaimStatus{}
			dropFromClaim(&c.Spec.Devices, nil)
		},
		PrepareUpdate: func(_ scheme.Context, c, old *resourcev1.ResourceClaim) {
			c.Status = old.Status
			dropFromClaim(&c.Spec.Devices, &old.Spec.Devices)
		},
		ValidateCreate: func(c *resourcev1.ResourceClaim) field.ErrorList {
			return v.validateDeviceClaim(&c.Spec.Devices, false, field.NewPath("spec", "devices"))
		},
		ValidateUpdate: func(c, old *resourcev1.ResourceClaim) field.ErrorList {
			errs := check.Unchanged(field.NewPath("spec"), c.Spec, old.Spec, internalform.Of)
			return append(errs, v.validateDeviceClaim(&c.Spec.Devices, true, field.NewPath("spec", "devices"))...)
		},
		WarnCreate:  func(c *resourcev1.ResourceClaim) []string { return warnClaim(&c.Spec.Devices, "spec", "devices") },
		ResetFields: []string{"status"},
	}
}

func warnClaim(c *resourcev1.DeviceClaim, path ...string) []string {
	var warnings []string
	for i := range c.Config {
		if o := c.Config[i].Opaque; o != nil {
			warnings = append(warnings, warnDriverName(o.Driver, func() *field.Path {
				return field.NewPath(path[0], path[1:]...).Child("config").Index(i).Child("opaque", "driver")
			})...)
		}
	}
	return warnings
}

// AdminAccess are the errors of a claim that asks for administrative access
// while its namespace does not have the label resource.kubernetes.io/admin-access:
// who knows the namespace appends them.
func AdminAccess(c *resourcev1.DeviceClaim) field.ErrorList {
	var errs field.ErrorList
	for i := range c.Requests {
		if e := c.Requests[i].Exactly; e != nil && e.AdminAccess != nil && *e.AdminAccess {
			errs = append(errs, field.Forbidden(field.NewPath("spec", "devices", "requests").Index(i).Child("adminAccess"),
				fmt.Sprintf("admin access to devices requires the `%s: true` label on the containing namespace", resourcev1.DRAAdminNamespaceLabelKey)))
		}
	}
	return errs
}

// requestNames has the subrequests of each request; a reference is "request"
// or "request/subrequest".
type requestNames map[string]map[string]bool

func namesOf(c *resourcev1.DeviceClaim) requestNames {
	names := requestNames{}
	for i := range c.Requests {
		r := &c.Requests[i]
		subs := make(map[string]bool, len(r.FirstAvailable))
		for j := range r.FirstAvailable {
			subs[r.FirstAvailable[j].Name] = true
		}
		names[r.Name] = subs
	}
	return names
}

func (v validator) validateDeviceClaim(c *resourcev1.DeviceClaim, stored bool, path *field.Path) field.ErrorList {
	names := namesOf(c)
	errs := validateSet(c.Requests, resourcev1.DeviceRequestsMaxSize, func(r *resourcev1.DeviceRequest, path *field.Path) field.ErrorList {
		return v.validateRequest(r, stored, path)
	}, func(r *resourcev1.DeviceRequest) string { return r.Name }, asIs[string], path.Child("requests"))
	errs = append(errs, validateList(c.Constraints, resourcev1.DeviceConstraintsMaxSize, func(d *resourcev1.DeviceConstraint, path *field.Path) field.ErrorList {
		return validateConstraint(d, names, path)
	}, path.Child("constraints"))...)
	return append(errs, validateList(c.Config, resourcev1.DeviceConfigMaxSize, func(d *resourcev1.DeviceClaimConfiguration, path *field.Path) field.ErrorList {
		errs := validateReferences(d.Requests, names, path.Child("requests"))
		return append(errs, validateConfiguration(&d.DeviceConfiguration, stored, path)...)
	}, path.Child("config"))...)
}

func (v validator) validateRequest(r *resourcev1.DeviceRequest, stored bool, path *field.Path) field.ErrorList {
	errs := check.Label(path.Child("name"), r.Name)
	switch {
	case r.Exactly == nil && len(r.FirstAvailable) == 0:
		return append(errs, field.Required(path, "exactly one of `exactly` or `firstAvailable` is required"))
	case r.Exactly != nil && len(r.FirstAvailable) > 0:
		return append(errs, field.Invalid(path, nil, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"))
	case r.Exactly != nil:
		e := r.Exactly
		return append(errs, v.validateWanted(wanted{e.DeviceClassName, e.Selectors, e.AllocationMode, e.Count, e.Tolerations}, stored, path.Child("exactly"))...)
	}
	return append(errs, validateSet(r.FirstAvailable, resourcev1.FirstAvailableDeviceRequestMaxSize, func(s *resourcev1.DeviceSubRequest, path *field.Path) field.ErrorList {
		errs := check.Label(path.Child("name"), s.Name)
		return append(errs, v.validateWanted(wanted{s.DeviceClassName, s.Selectors, s.AllocationMode, s.Count, s.Tolerations}, stored, path)...)
	}, func(s *resourcev1.DeviceSubRequest) string { return s.Name }, asIs[string], path.Child("firstAvailable"))...)
}

// wanted is what requests and subrequests have in common.
type wanted struct {
	class       string
	selectors   []resourcev1.DeviceSelector
	mode        resourcev1.DeviceAllocationMode
	count       int64
	tolerations []resourcev1.DeviceToleration
}

func (v validator) validateWanted(w wanted, stored bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if w.class == "" {
		errs = append(errs, field.Required(path.Child("deviceClassName"), ""))
	} else {
		errs = append(errs, check.Subdomain(path.Child("deviceClassName"), w.class)...)
	}
	errs = append(errs, v.validateSelectors(w.selectors, always(stored), path.Child("selectors"))...)
	switch w.mode {
	case resourcev1.DeviceAllocationModeAll:
		if w.count != 0 {
			errs = append(errs, field.Invalid(path.Child("count"), w.count, fmt.Sprintf("must not be specified when allocationMode is '%s'", w.mode)))
		}
	case resourcev1.DeviceAllocationModeExactCount:
		if w.count <= 0 {
			errs = append(errs, field.Invalid(path.Child("count"), w.count, "must be greater than zero"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("allocationMode"), w.mode, []resourcev1.DeviceAllocationMode{
			resourcev1.DeviceAllocationModeAll, resourcev1.DeviceAllocationModeExactCount}))
	}
	return append(errs, validateList(w.tolerations, resourcev1.DeviceTolerationsMaxLength, validateToleration, path.Child("tolerations"))...)
}

func validateToleration(t *resourcev1.DeviceToleration, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.Key != "" {
		errs = append(errs, metavalidation.ValidateLabelName(t.Key, path.Child("key"))...)
	}
	switch t.Operator {
	case resourcev1.DeviceTolerationOpExists:
		if t.Value != "" {
			errs = append(errs, field.Invalid(path.Child("value"), t.Value, "must be empty for operator `Exists`"))
		}
	case resourcev1.DeviceTolerationOpEqual:
		errs = append(errs, check.Messages(path.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
	case "":
		errs = append(errs, field.Required(path.Child("operator"), ""))
	default:
		errs = append(errs, field.NotSupported(path.Child("operator"), t.Operator, []resourcev1.DeviceTolerationOperator{
			resourcev1.DeviceTolerationOpEqual, resourcev1.DeviceTolerationOpExists}))
	}
	if t.Effect != "" {
		errs = append(errs, validateEffect(t.Effect, path.Child("effect"))...)
	}
	return errs
}

func validateEffect(e resourcev1.DeviceTaintEffect, path *field.Path) field.ErrorList {
	return check.OneOf(path, e, resourcev1.DeviceTaintEffectNoExecute, resourcev1.DeviceTaintEffectNoSchedule, resourcev1.DeviceTaintEffectNone)
}

func validateConstraint(c *resourcev1.DeviceConstraint, names requestNames, path *field.Path) field.ErrorList {
	errs := validateReferences(c.Requests, names, path.Child("requests"))
	// Kubernetes speaks of multiple fields when there is none, too.
	const one = `exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`
	switch {
	case c.MatchAttribute != nil && c.DistinctAttribute != nil:
		return append(errs, field.Invalid(path, nil, one))
	case c.MatchAttribute != nil:
		return append(errs, validateFullName(*c.MatchAttribute, path.Child("matchAttribute"))...)
	case c.DistinctAttribute != nil:
		return append(errs, validateFullName(*c.DistinctAttribute, path.Child("distinctAttribute"))...)
	}
	return append(errs, field.Required(path, one))
}

func validateReferences(requests []string, names requestNames, path *field.Path) field.ErrorList {
	return validateSet(requests, resourcev1.DeviceRequestsMaxSize, func(r *string, path *field.Path) field.ErrorList {
		return validateReference(*r, names, path)
	}, func(r *string) string { return *r }, asIs[string], path)
}

func validateConfiguration(c *resourcev1.DeviceConfiguration, stored bool, path *field.Path) field.ErrorList {
	path = path.Child("opaque")
	if c.Opaque == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	errs := check.CSIDriverName(path.Child("driver"), c.Opaque.Driver)
	return append(errs, validateRaw(c.Opaque.Parameters, stored, resourcev1.OpaqueParametersMaxLength, path.Child("parameters"))...)
}
