package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

var serviceCIDRHooks = scheme.Hooks[networkingv1.ServiceCIDR]{
	PrepareCreate: func(_ scheme.Context, c *networkingv1.ServiceCIDR) { c.Status = networkingv1.ServiceCIDRStatus{} },
	PrepareUpdate: func(_ scheme.Context, c, old *networkingv1.ServiceCIDR) { c.Status = old.Status },
	ValidateCreate: func(c *networkingv1.ServiceCIDR) field.ErrorList {
		return validateServiceCIDRSpec(&c.Spec, field.NewPath("spec", "cidrs"))
	},
	ValidateUpdate: func(c, old *networkingv1.ServiceCIDR) field.ErrorList {
		return validateServiceCIDRUpdate(&c.Spec, &old.Spec, field.NewPath("spec", "cidrs"))
	},
	ResetFields: []string{"status"},
}

var serviceCIDRStatusHooks = scheme.UpdateHooks[networkingv1.ServiceCIDR]{
	PrepareUpdate: func(_ scheme.Context, c, old *networkingv1.ServiceCIDR) { c.Spec = old.Spec },
	ResetFields:   []string{"spec"},
}

func validateServiceCIDRSpec(spec *networkingv1.ServiceCIDRSpec, path *field.Path) field.ErrorList {
	switch len(spec.CIDRs) {
	case 0:
		return field.ErrorList{field.Required(path, "at least one CIDR required")}
	case 1:
	case 2:
		if dual, err := netutils.IsDualStackCIDRStrings(spec.CIDRs); err != nil || !dual {
			return field.ErrorList{field.Invalid(path, internalform.Of(*spec),
				"may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64")}
		}
	default:
		return field.ErrorList{field.Invalid(path, internalform.Of(*spec), "may only hold up to 2 values")}
	}
	var errs field.ErrorList
	for i, cidr := range spec.CIDRs {
		errs = append(errs, validation.IsValidCIDR(path.Index(i), cidr)...)
	}
	return errs
}

// validateServiceCIDRUpdate allows one change: a second family is added.
func validateServiceCIDRUpdate(spec, old *networkingv1.ServiceCIDRSpec, path *field.Path) field.ErrorList {
	grows := len(old.CIDRs) == 1 && len(spec.CIDRs) == 2
	if len(spec.CIDRs) != len(old.CIDRs) && !grows {
		return field.ErrorList{field.Invalid(path, spec.CIDRs, check.Immutable)}
	}
	var errs field.ErrorList
	for i, cidr := range old.CIDRs {
		if spec.CIDRs[i] != cidr {
			errs = append(errs, field.Invalid(path.Index(i), spec.CIDRs[i], check.Immutable))
		}
	}
	if grows {
		errs = append(errs, validateServiceCIDRSpec(spec, path)...)
	}
	return errs
}
