package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

const onlyLoadBalancer = "may only be used when `type` is 'LoadBalancer'"

// ValidateService checks a service after allocation; old is nil on create.
func ValidateService(s, old *corev1.Service) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if len(s.Spec.Ports) == 0 && !ServiceIsHeadless(s) && s.Spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(path.Child("ports"), ""))
	}
	errs = append(errs, validateServiceType(s, path)...)
	for i := range s.Spec.Ports {
		errs = append(errs, validateServicePort(s.Spec.Ports, i, path.Child("ports").Index(i))...)
	}
	if len(s.Spec.Selector) > 0 {
		errs = append(errs, metav1validation.ValidateLabels(s.Spec.Selector, path.Child("selector"))...)
	}
	errs = append(errs, validateSessionAffinity(&s.Spec, path)...)
	errs = append(errs, ValidateServiceClusterIPs(s, old)...)
	errs = append(errs, validateExternalIPs(s, old, path.Child("externalIPs"))...)
	if s.Spec.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), ""))
	} else {
		errs = append(errs, check.OneOf(path.Child("type"), s.Spec.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName,
			corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)...)
	}
	errs = append(errs, validateNodePorts(&s.Spec, path.Child("ports"))...)
	errs = append(errs, validateSourceRanges(s, old, path.Child("LoadBalancerSourceRanges"))...)
	errs = append(errs, validateAllocation(&s.Spec, path.Child("allocateLoadBalancerNodePorts"))...)
	errs = append(errs, validateBalancerClass(s, path.Child("loadBalancerClass"))...)
	return append(errs, validateTrafficPolicies(s, path)...)
}

// validateServiceType checks what only one type requires or forbids.
func validateServiceType(s *corev1.Service, path *field.Path) field.ErrorList {
	spec := &s.Spec
	var errs field.ErrorList
	switch spec.Type {
	case corev1.ServiceTypeLoadBalancer:
		for i := range spec.Ports {
			// 10250 is the kubelet's; a service with that port would hide it.
			if spec.Ports[i].Port == 10250 {
				errs = append(errs, field.Invalid(path.Child("ports").Index(i), int64(10250), "may not expose port 10250 externally since it is used by kubelet"))
			}
		}
		errs = append(errs, notHeadless(s, path)...)
	case corev1.ServiceTypeNodePort:
		errs = notHeadless(s, path)
	case corev1.ServiceTypeExternalName:
		const no = "may not be set for ExternalName services"
		if len(spec.ClusterIPs) > 0 {
			errs = append(errs, field.Forbidden(path.Child("clusterIPs"), no))
		}
		if len(spec.IPFamilies) > 0 {
			errs = append(errs, field.Forbidden(path.Child("ipFamilies"), no))
		}
		if spec.IPFamilyPolicy != nil {
			errs = append(errs, field.Forbidden(path.Child("ipFamilyPolicy"), no))
		}
		// A CNAME may end in a dot.
		if name := strings.TrimSuffix(spec.ExternalName, "."); name != "" {
			errs = append(errs, check.Subdomain(path.Child("externalName"), name)...)
		} else {
			errs = append(errs, field.Required(path.Child("externalName"), ""))
		}
	}
	return errs
}

func notHeadless(s *corev1.Service, path *field.Path) field.ErrorList {
	if !ServiceIsHeadless(s) || len(s.Spec.ClusterIPs) == 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path.Child("clusterIPs").Index(0), s.Spec.ClusterIPs[0],
		"may not be set to 'None' for "+string(s.Spec.Type)+" services")}
}

func validateServicePort(ports []corev1.ServicePort, i int, path *field.Path) field.ErrorList {
	p := &ports[i]
	var errs field.ErrorList
	if p.Name != "" {
		errs = check.Label(path.Child("name"), p.Name)
		if slices.ContainsFunc(ports[:i], func(o corev1.ServicePort) bool { return o.Name == p.Name }) {
			errs = append(errs, field.Duplicate(path.Child("name"), p.Name))
		}
	} else if len(ports) > 1 {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	errs = append(errs, check.Messages(path.Child("port"), p.Port, utilvalidation.IsValidPortNum(int(p.Port)))...)
	errs = append(errs, validateProtocol(p.Protocol, path.Child("protocol"))...)
	target := path.Child("targetPort")
	if p.TargetPort.Type == intstr.Int {
		errs = append(errs, check.Messages(target, p.TargetPort.IntVal, utilvalidation.IsValidPortNum(int(p.TargetPort.IntVal)))...)
	} else {
		errs = append(errs, check.Messages(target, p.TargetPort.StrVal, utilvalidation.IsValidPortName(p.TargetPort.StrVal))...)
	}
	if p.AppProtocol != nil {
		errs = append(errs, check.QualifiedName(path.Child("appProtocol"), *p.AppProtocol)...)
	}
	return errs
}

func validateSessionAffinity(spec *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	at := path.Child("sessionAffinity")
	if spec.SessionAffinity == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := check.OneOf(at, spec.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	config := path.Child("sessionAffinityConfig")
	c := spec.SessionAffinityConfig
	switch spec.SessionAffinity {
	case corev1.ServiceAffinityNone:
		if c != nil {
			errs = append(errs, field.Forbidden(config, "must not be set when session affinity is None"))
		}
	case corev1.ServiceAffinityClientIP:
		const when = "when session affinity type is ClientIP"
		switch {
		case c == nil:
			errs = append(errs, field.Required(config, when))
		case c.ClientIP == nil:
			errs = append(errs, field.Required(config.Child("clientIP"), when))
		case c.ClientIP.TimeoutSeconds == nil:
			errs = append(errs, field.Required(config.Child("clientIP", "timeoutSeconds"), when))
		case *c.ClientIP.TimeoutSeconds <= 0 || *c.ClientIP.TimeoutSeconds > 86400:
			errs = append(errs, field.Invalid(config.Child("clientIP", "timeoutSeconds"), *c.ClientIP.TimeoutSeconds, "must be greater than 0 and less than 86400"))
		}
	}
	return errs
}

func validateExternalIPs(s, old *corev1.Service, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var known []string
	if old != nil {
		known = old.Spec.ExternalIPs
	}
	for i, ip := range s.Spec.ExternalIPs {
		bad := validateIP(ip, known, path.Index(i))
		if len(bad) == 0 {
			bad = validateEndpointIP(ip, path.Index(i))
		}
		errs = append(errs, bad...)
	}
	return errs
}

// validateNodePorts forbids node ports where there are none, and any port or
// node port twice with one protocol.
func validateNodePorts(spec *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if spec.Type == corev1.ServiceTypeClusterIP {
		for i := range spec.Ports {
			if spec.Ports[i].NodePort != 0 {
				errs = append(errs, field.Forbidden(path.Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
			}
		}
	}
	for i := range spec.Ports {
		p := &spec.Ports[i]
		if p.NodePort != 0 && slices.ContainsFunc(spec.Ports[:i], func(o corev1.ServicePort) bool {
			return o.Protocol == p.Protocol && o.NodePort == p.NodePort
		}) {
			errs = append(errs, field.Duplicate(path.Index(i).Child("nodePort"), p.NodePort))
		}
	}
	for i := range spec.Ports {
		p := &spec.Ports[i]
		if slices.ContainsFunc(spec.Ports[:i], func(o corev1.ServicePort) bool { return o.Protocol == p.Protocol && o.Port == p.Port }) {
			errs = append(errs, field.Duplicate(path.Index(i), internalform.Of(corev1.ServicePort{Protocol: p.Protocol, Port: p.Port})))
		}
	}
	return errs
}

// validateSourceRanges checks the ranges of the field or, where there are
// none, of the annotation that was before it. Spaces around them are allowed.
func validateSourceRanges(s, old *corev1.Service, path *field.Path) field.ErrorList {
	ranges := s.Spec.LoadBalancerSourceRanges
	at := path.Index
	if len(ranges) == 0 {
		text, ok := s.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey]
		if !ok {
			return nil
		}
		path = field.NewPath("metadata", "annotations").Key(corev1.AnnotationLoadBalancerSourceRangesKey)
		at = func(int) *field.Path { return path }
		if text = strings.TrimSpace(text); text != "" {
			ranges = strings.Split(text, ",")
		}
	}
	var errs field.ErrorList
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		errs = append(errs, field.Forbidden(path, onlyLoadBalancer))
	}
	var known []string
	if old != nil {
		known = old.Spec.LoadBalancerSourceRanges
	}
	for i, r := range ranges {
		errs = append(errs, utilvalidation.IsValidCIDRForLegacyField(at(i), strings.TrimSpace(r), true, known)...)
	}
	return errs
}

func validateAllocation(spec *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	balanced := spec.Type == corev1.ServiceTypeLoadBalancer
	switch {
	case spec.AllocateLoadBalancerNodePorts != nil && !balanced:
		return field.ErrorList{field.Forbidden(path, onlyLoadBalancer)}
	case spec.AllocateLoadBalancerNodePorts == nil && balanced:
		return field.ErrorList{field.Required(path, "")}
	}
	return nil
}

func validateBalancerClass(s *corev1.Service, path *field.Path) field.ErrorList {
	switch class := s.Spec.LoadBalancerClass; {
	case class == nil:
		return nil
	case s.Spec.Type != corev1.ServiceTypeLoadBalancer:
		return field.ErrorList{field.Forbidden(path, onlyLoadBalancer)}
	default:
		return check.QualifiedName(path, *class)
	}
}

func validateTrafficPolicies(s *corev1.Service, path *field.Path) field.ErrorList {
	spec := &s.Spec
	var errs field.ErrorList
	external := path.Child("externalTrafficPolicy")
	switch p := spec.ExternalTrafficPolicy; {
	case !externallyReachable(s):
		if p != "" {
			errs = append(errs, field.Invalid(external, p, "may only be set for externally-accessible services"))
		}
	case p == "":
		errs = append(errs, field.Required(external, ""))
	default:
		errs = append(errs, check.OneOf(external, p, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	}
	health := path.Child("healthCheckNodePort")
	switch port := spec.HealthCheckNodePort; {
	case !ServiceNeedsHealthCheck(s):
		if port != 0 {
			errs = append(errs, field.Invalid(health, port, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
		}
	case port == 0:
		errs = append(errs, field.Required(health, ""))
	default:
		errs = append(errs, check.Messages(health, port, utilvalidation.IsValidPortNum(int(port)))...)
	}
	internal := path.Child("internalTrafficPolicy")
	if p := spec.InternalTrafficPolicy; p != nil {
		errs = append(errs, check.OneOf(internal, *p, corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	} else if ServiceNeedsClusterIP(s) {
		errs = append(errs, field.Required(internal, ""))
	}
	if d := spec.TrafficDistribution; d != nil {
		errs = append(errs, check.OneOf(path.Child("trafficDistribution"), *d, corev1.ServiceTrafficDistributionPreferClose,
			corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode)...)
	}
	return errs
}

// ValidateServiceUpdate keeps the primary address and family, the balancer's
// class and the health check's port.
func ValidateServiceUpdate(s, old *corev1.Service) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if s.Spec.Type != corev1.ServiceTypeExternalName && old.Spec.Type != corev1.ServiceTypeExternalName {
		if !ServiceIsHeadless(s) || !ServiceIsHeadless(old) {
			errs = append(errs, primaryKept(&s.Spec, s.Spec.ClusterIPs, old.Spec.ClusterIPs, "clusterIP", path)...)
		}
		errs = append(errs, primaryKept(&s.Spec, familyNames(s), familyNames(old), "ipFamily", path)...)
	}
	class := path.Child("loadBalancerClass")
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && old.Spec.Type == corev1.ServiceTypeLoadBalancer {
		if now, was := s.Spec.LoadBalancerClass, old.Spec.LoadBalancerClass; (now == nil) != (was == nil) || now != nil && *now != *was {
			errs = append(errs, field.Invalid(class, now, "may not change once set"))
		}
	}
	errs = append(errs, validateBalancerClass(s, class)...)
	if ServiceNeedsHealthCheck(s) && ServiceNeedsHealthCheck(old) && s.Spec.HealthCheckNodePort != old.Spec.HealthCheckNodePort {
		errs = append(errs, field.Forbidden(path.Child("healthCheckNodePort"), "field is immutable"))
	}
	return append(errs, ValidateService(s, old)...)
}

func familyNames(s *corev1.Service) []string {
	names := make([]string, len(s.Spec.IPFamilies))
	for i, f := range s.Spec.IPFamilies {
		names[i] = string(f)
	}
	return names
}

// primaryKept compares the addresses or the families, of which the second may
// come and go. what is the field's singular.
func primaryKept(spec *corev1.ServiceSpec, now, was []string, what string, path *field.Path) field.ErrorList {
	plural := map[string]string{"clusterIP": "clusterIPs", "ipFamily": "ipFamilies"}[what]
	at := path.Child(plural)
	var errs field.ErrorList
	changed := func(i int) { errs = append(errs, field.Invalid(at.Index(i), now, "may not change once set")) }
	switch {
	case len(now) == len(was):
		for i := range now {
			if now[i] != was[i] {
				changed(i)
			}
		}
	case len(now) < len(was):
		if len(now) == 0 {
			return field.ErrorList{field.Invalid(at.Index(0), now, "primary "+what+" can not be unset")}
		}
		if now[0] != was[0] {
			changed(0)
		}
		if len(now) == 1 && (spec.IPFamilyPolicy == nil || *spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack) {
			errs = append(errs, field.Invalid(path.Child("ipFamilyPolicy"), spec.IPFamilyPolicy, "must be set to 'SingleStack' when releasing the secondary "+what))
		}
	default:
		if len(was) > 0 && now[0] != was[0] {
			changed(0)
		}
	}
	return errs
}

func validateServiceStatus(s, old *corev1.Service) field.ErrorList {
	path := field.NewPath("status", "loadBalancer", "ingress")
	ingress := s.Status.LoadBalancer.Ingress
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		if len(ingress) > 0 {
			return field.ErrorList{field.Forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")}
		}
		return nil
	}
	var known []string
	for i := range old.Status.LoadBalancer.Ingress {
		known = append(known, old.Status.LoadBalancer.Ingress[i].IP)
	}
	var errs field.ErrorList
	for i := range ingress {
		in, at := &ingress[i], path.Index(i)
		if in.IP != "" {
			errs = append(errs, validateIP(in.IP, known, at.Child("ip"))...)
		}
		switch mode := in.IPMode; {
		case mode == nil:
			if in.IP != "" {
				errs = append(errs, field.Required(at.Child("ipMode"), "must be specified when `ip` is set"))
			}
		case in.IP == "":
			errs = append(errs, field.Forbidden(at.Child("ipMode"), "may not be specified when `ip` is not set"))
		default:
			errs = append(errs, check.OneOf(at.Child("ipMode"), *mode, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)...)
		}
		if in.Hostname != "" {
			errs = append(errs, check.Subdomain(at.Child("hostname"), in.Hostname)...)
			if isAddress(in.Hostname) {
				errs = append(errs, field.Invalid(at.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}
