package resource

import (
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
)

func (v validator) classHooks() scheme.Hooks[resourcev1.DeviceClass] {
	return scheme.Hooks[resourcev1.DeviceClass]{
		ValidateCreate: func(c *resourcev1.DeviceClass) field.ErrorList {
			return v.validateClass(&c.Spec, nil, field.NewPath("spec"))
		},
		ValidateUpdate: func(c, old *resourcev1.DeviceClass) field.ErrorList {
			return v.validateClass(&c.Spec, &old.Spec, field.NewPath("spec"))
		},
		WarnCreate: warnClass,
		WarnUpdate: func(c, _ *resourcev1.DeviceClass) []string { return warnClass(c) },
		SpecChanged: func(c, old *resourcev1.DeviceClass) bool {
			return !apiequality.Semantic.DeepEqual(&c.Spec, &old.Spec)
		},
	}
}

func warnClass(c *resourcev1.DeviceClass) []string {
	var warnings []string
	for i := range c.Spec.Config {
		if o := c.Spec.Config[i].Opaque; o != nil {
			warnings = append(warnings, warnDriverName(o.Driver, func() *field.Path {
				return field.NewPath("spec", "config").Index(i).Child("opaque", "driver")
			})...)
		}
	}
	return warnings
}

func (v validator) validateClass(s, old *resourcev1.DeviceClassSpec, path *field.Path) field.ErrorList {
	stored := func(expression string) bool { return old != nil && hasExpression(old.Selectors, expression) }
	errs := v.validateSelectors(s.Selectors, stored, path.Child("selectors"))
	errs = append(errs, validateList(s.Config, resourcev1.DeviceConfigMaxSize, func(c *resourcev1.DeviceClassConfiguration, path *field.Path) field.ErrorList {
		return validateConfiguration(&c.DeviceConfiguration, old != nil && hasConfiguration(old.Config, c), path)
	}, path.Child("config"))...)
	if n := s.ExtendedResourceName; n != nil && !isExtendedResource(*n) {
		errs = append(errs, field.Invalid(path.Child("extendedResourceName"), *n, "must be a valid extended resource name"))
	}
	return errs
}

func hasExpression(selectors []resourcev1.DeviceSelector, expression string) bool {
	for i := range selectors {
		if c := selectors[i].CEL; c != nil && c.Expression == expression {
			return true
		}
	}
	return false
}

func hasConfiguration(all []resourcev1.DeviceClassConfiguration, c *resourcev1.DeviceClassConfiguration) bool {
	for i := range all {
		if apiequality.Semantic.DeepEqual(&all[i], c) {
			return true
		}
	}
	return false
}

// isExtendedResource is true of names with a domain that is not Kubernetes'
// and which a quota can name.
func isExtendedResource(name string) bool {
	return strings.Contains(name, "/") && !strings.Contains(name, "kubernetes.io/") && !strings.HasPrefix(name, "requests.") &&
		len(validation.IsQualifiedName("requests."+name)) == 0
}
