package networking

import (
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

// classAnnotation named the class before spec.ingressClassName did.
const classAnnotation = "kubernetes.io/ingress.class"

var ingressHooks = scheme.Hooks[networkingv1.Ingress]{
	PrepareCreate: func(_ scheme.Context, i *networkingv1.Ingress) { i.Status = networkingv1.IngressStatus{} },
	PrepareUpdate: func(_ scheme.Context, i, old *networkingv1.Ingress) { i.Status = old.Status },
	ValidateCreate: func(i *networkingv1.Ingress) field.ErrorList {
		errs := validateIngressSpec(&i.Spec, legacy{}, field.NewPath("spec"))
		return append(errs, validateClassAnnotation(i)...)
	},
	ValidateUpdate: func(i, old *networkingv1.Ingress) field.ErrorList {
		return validateIngressSpec(&i.Spec, legacyOf(old), field.NewPath("spec"))
	},
	WarnCreate: func(i *networkingv1.Ingress) []string {
		if _, ok := i.Annotations[classAnnotation]; ok {
			return []string{`annotation "` + classAnnotation + `" is deprecated, please use 'spec.ingressClassName' instead`}
		}
		return nil
	},
	ResetFields: []string{"status"},
	SpecChanged: func(i, old *networkingv1.Ingress) bool { return !apiequality.Semantic.DeepEqual(&i.Spec, &old.Spec) },
}

var ingressStatusHooks = scheme.UpdateHooks[networkingv1.Ingress]{
	PrepareUpdate: func(_ scheme.Context, i, old *networkingv1.Ingress) { i.Spec = old.Spec },
	ValidateUpdate: func(i, old *networkingv1.Ingress) field.ErrorList {
		return validateIngressStatus(&i.Status, &old.Status, field.NewPath("status"))
	},
	WarnUpdate: func(i, _ *networkingv1.Ingress) []string {
		var warnings []string
		path := field.NewPath("status", "loadBalancer", "ingress")
		for n, point := range i.Status.LoadBalancer.Ingress {
			if point.IP != "" {
				warnings = append(warnings, validation.GetWarningsForIP(path.Index(n).Child("ip"), point.IP)...)
			}
		}
		return warnings
	},
	ResetFields: []string{"spec"},
}

// legacy is what an update may keep though a create may not have it.
type legacy struct {
	secretNames   bool
	wildcardRules bool
}

func legacyOf(old *networkingv1.Ingress) legacy {
	var l legacy
	for i := range old.Spec.TLS {
		if len(validateSecretName(old.Spec.TLS[i].SecretName, nil)) > 0 {
			l.secretNames = true
		}
	}
	for i := range old.Spec.Rules {
		r := &old.Spec.Rules[i]
		if strings.Contains(r.Host, "*") && len(validateRuleValue(&r.IngressRuleValue, field.NewPath("spec"))) > 0 {
			l.wildcardRules = true
		}
	}
	return l
}

func validateClassAnnotation(i *networkingv1.Ingress) field.ErrorList {
	class, ok := i.Annotations[classAnnotation]
	if !ok || i.Spec.IngressClassName == nil || *i.Spec.IngressClassName == class {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("annotations").Child(classAnnotation), class,
		"must match `ingressClassName` when both are specified")}
}

func validateIngressSpec(spec *networkingv1.IngressSpec, l legacy, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(spec.Rules) == 0 && spec.DefaultBackend == nil {
		errs = append(errs, field.Invalid(path, spec.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if spec.DefaultBackend != nil {
		errs = append(errs, validateBackend(spec.DefaultBackend, path.Child("defaultBackend"))...)
	}
	for i := range spec.Rules {
		errs = append(errs, validateRule(&spec.Rules[i], l, path.Child("rules").Index(i))...)
	}
	for i := range spec.TLS {
		errs = append(errs, validateTLS(&spec.TLS[i], l, path.Child("tls").Index(i))...)
	}
	if spec.IngressClassName != nil {
		errs = append(errs, check.Subdomain(path.Child("ingressClassName"), *spec.IngressClassName)...)
	}
	return errs
}

func validateRule(r *networkingv1.IngressRule, l legacy, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	wildcard := strings.Contains(r.Host, "*")
	if r.Host != "" {
		if netutils.ParseIPSloppy(r.Host) != nil {
			errs = append(errs, field.Invalid(path.Child("host"), r.Host, "must be a DNS name, not an IP address"))
		}
		errs = append(errs, validateHost(r.Host, path.Child("host"))...)
	}
	if wildcard && l.wildcardRules {
		return errs
	}
	return append(errs, validateRuleValue(&r.IngressRuleValue, path)...)
}

func validateHost(host string, path *field.Path) field.ErrorList {
	if strings.Contains(host, "*") {
		return check.Messages(path, host, validation.IsWildcardDNS1123Subdomain(host))
	}
	return check.Subdomain(path, host)
}

func validateRuleValue(v *networkingv1.IngressRuleValue, path *field.Path) field.ErrorList {
	if v.HTTP == nil {
		return nil
	}
	path = path.Child("http", "paths")
	if len(v.HTTP.Paths) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for i := range v.HTTP.Paths {
		errs = append(errs, validateHTTPPath(&v.HTTP.Paths[i], path.Index(i))...)
	}
	return errs
}

// notInPath and notAtEnd are what a matcher of path elements could not match.
var (
	notInPath = []string{"//", "/./", "/../", "%2f", "%2F"}
	notAtEnd  = []string{"/..", "/."}
)

func validateHTTPPath(p *networkingv1.HTTPIngressPath, path *field.Path) field.ErrorList {
	if p.PathType == nil {
		return field.ErrorList{field.Required(path.Child("pathType"), "pathType must be specified")}
	}
	var errs field.ErrorList
	at := path.Child("path")
	switch *p.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		if !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(at, p.Path, "must be an absolute path"))
		}
		for _, s := range notInPath {
			if strings.Contains(p.Path, s) {
				errs = append(errs, field.Invalid(at, p.Path, "must not contain '"+s+"'"))
			}
		}
		for _, s := range notAtEnd {
			if strings.HasSuffix(p.Path, s) {
				errs = append(errs, field.Invalid(at, p.Path, "cannot end with '"+s+"'"))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" && p.Path[0] != '/' {
			errs = append(errs, field.Invalid(at, p.Path, "must be an absolute path"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("pathType"), *p.PathType, []networkingv1.PathType{
			networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix}))
	}
	return append(errs, validateBackend(&p.Backend, path.Child("backend"))...)
}

func validateBackend(b *networkingv1.IngressBackend, path *field.Path) field.ErrorList {
	switch {
	case b.Resource != nil && b.Service != nil:
		return field.ErrorList{field.Invalid(path, "", "cannot set both resource and service backends")}
	case b.Resource != nil:
		return validateReference(b.Resource.APIGroup, b.Resource.Kind, b.Resource.Name, path.Child("resource"))
	case b.Service != nil:
		return validateServiceBackend(b.Service, path)
	}
	return field.ErrorList{field.Invalid(path, "", "resource or service backend is required")}
}

func validateServiceBackend(s *networkingv1.IngressServiceBackend, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("service")
	if s.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	} else {
		errs = append(errs, check.Label(at.Child("name"), s.Name)...)
	}
	switch port := &s.Port; {
	case port.Name != "" && port.Number != 0:
		errs = append(errs, field.Invalid(path, "", "cannot set both port name & port number"))
	case port.Name != "":
		errs = append(errs, check.Messages(at.Child("port", "name"), port.Name, validation.IsValidPortName(port.Name))...)
	case port.Number != 0:
		errs = append(errs, check.Messages(at.Child("port", "number"), port.Number, validation.IsValidPortNum(int(port.Number)))...)
	default:
		errs = append(errs, field.Required(path, "port name or number is required"))
	}
	return errs
}

func validateReference(apiGroup *string, kind, name string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if apiGroup != nil {
		errs = append(errs, check.Subdomain(path.Child("apiGroup"), *apiGroup)...)
	}
	for _, part := range []struct{ name, value string }{{"kind", kind}, {"name", name}} {
		if part.value == "" {
			errs = append(errs, field.Required(path.Child(part.name), ""))
		} else {
			errs = append(errs, check.PathSegment(path.Child(part.name), part.value)...)
		}
	}
	return errs
}

func validateTLS(t *networkingv1.IngressTLS, l legacy, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, host := range t.Hosts {
		errs = append(errs, validateHost(host, path.Child("hosts").Index(i))...)
	}
	if !l.secretNames {
		errs = append(errs, validateSecretName(t.SecretName, path.Child("secretName"))...)
	}
	return errs
}

func validateSecretName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return nil
	}
	return check.Subdomain(path, name)
}

func validateIngressStatus(s, old *networkingv1.IngressStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var known []string
	for _, point := range old.LoadBalancer.Ingress {
		if point.IP != "" {
			known = append(known, point.IP)
		}
	}
	for i := range s.LoadBalancer.Ingress {
		point, at := &s.LoadBalancer.Ingress[i], path.Child("loadBalancer", "ingress").Index(i)
		if point.IP != "" {
			errs = append(errs, validation.IsValidIPForLegacyField(at.Child("ip"), point.IP, true, known)...)
		}
		if point.Hostname != "" {
			errs = append(errs, check.Subdomain(at.Child("hostname"), point.Hostname)...)
			if netutils.ParseIPSloppy(point.Hostname) != nil {
				errs = append(errs, field.Invalid(at.Child("hostname"), point.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}
