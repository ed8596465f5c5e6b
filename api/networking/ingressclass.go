package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

// maxControllerLength is in bytes.
const maxControllerLength = 250

var ingressClassHooks = scheme.Hooks[networkingv1.IngressClass]{
	Default: defaultIngressClass,
	ValidateCreate: func(c *networkingv1.IngressClass) field.ErrorList {
		return validateIngressClassSpec(&c.Spec, field.NewPath("spec"))
	},
	ValidateUpdate: func(c, old *networkingv1.IngressClass) field.ErrorList {
		path := field.NewPath("spec")
		errs := check.Unchanged(path.Child("controller"), c.Spec.Controller, old.Spec.Controller, nil)
		return append(errs, validateIngressClassSpec(&c.Spec, path)...)
	},
	SpecChanged: func(c, old *networkingv1.IngressClass) bool {
		return !apiequality.Semantic.DeepEqual(&c.Spec, &old.Spec)
	},
}

func validateIngressClassSpec(spec *networkingv1.IngressClassSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(spec.Controller) > maxControllerLength {
		errs = append(errs, field.TooLong(path.Child("controller"), spec.Controller, maxControllerLength))
	}
	errs = append(errs, validation.IsDomainPrefixedPath(path.Child("controller"), spec.Controller)...)
	if spec.Parameters != nil {
		errs = append(errs, validateParameters(spec.Parameters, path.Child("parameters"))...)
	}
	return errs
}

func validateParameters(p *networkingv1.IngressClassParametersReference, path *field.Path) field.ErrorList {
	errs := validateReference(p.APIGroup, p.Kind, p.Name, path)
	if p.Scope == nil {
		return append(errs, field.Required(path.Child("scope"), ""))
	}
	at := path.Child("namespace")
	switch *p.Scope {
	case networkingv1.IngressClassParametersReferenceScopeNamespace:
		if p.Namespace == nil {
			errs = append(errs, field.Required(at, "`parameters.scope` is set to 'Namespace'"))
		} else {
			errs = append(errs, check.Label(at, *p.Namespace)...)
		}
	case networkingv1.IngressClassParametersReferenceScopeCluster:
		if p.Namespace != nil {
			errs = append(errs, field.Forbidden(at, "`parameters.scope` is set to 'Cluster'"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("scope"), *p.Scope, []string{
			networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace}))
	}
	return errs
}
