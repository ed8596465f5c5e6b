package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
)

var ipAddressHooks = scheme.Hooks[networkingv1.IPAddress]{
	ValidateName: func(name string, _ bool) []string {
		var messages []string
		for _, err := range validation.IsValidIP(nil, name) {
			messages = append(messages, err.Detail)
		}
		return messages
	},
	ValidateCreate: func(a *networkingv1.IPAddress) field.ErrorList {
		return validateParent(a.Spec.ParentRef, field.NewPath("spec", "parentRef"))
	},
	ValidateUpdate: func(a, old *networkingv1.IPAddress) field.ErrorList {
		return check.Unchanged(field.NewPath("spec", "parentRef"), a.Spec.ParentRef, old.Spec.ParentRef, internalform.Of)
	},
}

func validateParent(p *networkingv1.ParentReference, path *field.Path) field.ErrorList {
	if p == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if p.Group != "" {
		errs = append(errs, check.Subdomain(path.Child("group"), p.Group)...)
	}
	for _, part := range []struct{ name, value string }{{"resource", p.Resource}, {"name", p.Name}} {
		if part.value == "" {
			errs = append(errs, field.Required(path.Child(part.name), ""))
		} else {
			errs = append(errs, check.PathSegment(path.Child(part.name), part.value)...)
		}
	}
	if p.Namespace != "" {
		errs = append(errs, check.PathSegment(path.Child("namespace"), p.Namespace)...)
	}
	return errs
}
