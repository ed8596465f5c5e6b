package networking

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

var networkPolicyHooks = scheme.Hooks[networkingv1.NetworkPolicy]{
	Default: defaultNetworkPolicy,
	ValidateCreate: func(p *networkingv1.NetworkPolicy) field.ErrorList {
		return validateNetworkPolicySpec(&p.Spec, nil, field.NewPath("spec"))
	},
	ValidateUpdate: func(p, old *networkingv1.NetworkPolicy) field.ErrorList {
		return validateNetworkPolicySpec(&p.Spec, cidrsOf(&old.Spec), field.NewPath("spec"))
	},
	WarnCreate: warnNetworkPolicy,
	WarnUpdate: func(p, _ *networkingv1.NetworkPolicy) []string { return warnNetworkPolicy(p) },
	SpecChanged: func(p, old *networkingv1.NetworkPolicy) bool {
		return !apiequality.Semantic.DeepEqual(&p.Spec, &old.Spec)
	},
}

func validateSelector(s *metav1.LabelSelector, path *field.Path) field.ErrorList {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, path)
}

// validateNetworkPolicySpec takes as known the CIDRs of the old policy, which
// may stay though they would be refused today.
func validateNetworkPolicySpec(spec *networkingv1.NetworkPolicySpec, known []string, path *field.Path) field.ErrorList {
	errs := validateSelector(&spec.PodSelector, path.Child("podSelector"))
	for i := range spec.Ingress {
		r, at := &spec.Ingress[i], path.Child("ingress").Index(i)
		errs = append(errs, validatePolicyPorts(r.Ports, at.Child("ports"))...)
		errs = append(errs, validatePeers(r.From, known, at.Child("from"))...)
	}
	for i := range spec.Egress {
		r, at := &spec.Egress[i], path.Child("egress").Index(i)
		errs = append(errs, validatePolicyPorts(r.Ports, at.Child("ports"))...)
		errs = append(errs, validatePeers(r.To, known, at.Child("to"))...)
	}
	return append(errs, validatePolicyTypes(spec.PolicyTypes, path.Child("policyTypes"))...)
}

func validatePolicyTypes(types []networkingv1.PolicyType, path *field.Path) field.ErrorList {
	if len(types) > 2 {
		return field.ErrorList{field.Invalid(path, types, "may not specify more than two policyTypes")}
	}
	var errs field.ErrorList
	for i, t := range types {
		errs = append(errs, check.OneOf(path.Index(i), t, networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress)...)
	}
	return errs
}

func validatePolicyPorts(ports []networkingv1.NetworkPolicyPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range ports {
		errs = append(errs, validatePolicyPort(&ports[i], path.Index(i))...)
	}
	return errs
}

func validatePolicyPort(p *networkingv1.NetworkPolicyPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p.Protocol != nil {
		errs = check.OneOf(path.Child("protocol"), *p.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)
	}
	end := path.Child("endPort")
	switch {
	case p.Port == nil:
		if p.EndPort != nil {
			errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is not specified"))
		}
	case p.Port.Type == intstr.Int:
		errs = append(errs, check.Messages(path.Child("port"), p.Port.IntVal, validation.IsValidPortNum(int(p.Port.IntVal)))...)
		if p.EndPort != nil {
			if *p.EndPort < p.Port.IntVal {
				errs = append(errs, field.Invalid(end, p.Port.IntVal, "must be greater than or equal to `port`"))
			}
			errs = append(errs, check.Messages(end, *p.EndPort, validation.IsValidPortNum(int(*p.EndPort)))...)
		}
	default:
		if p.EndPort != nil {
			errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is non-numeric"))
		}
		errs = append(errs, check.Messages(path.Child("port"), p.Port.StrVal, validation.IsValidPortName(p.Port.StrVal))...)
	}
	return errs
}

func validatePeers(peers []networkingv1.NetworkPolicyPeer, known []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range peers {
		errs = append(errs, validatePeer(&peers[i], known, path.Index(i))...)
	}
	return errs
}

func validatePeer(p *networkingv1.NetworkPolicyPeer, known []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	selects := p.PodSelector != nil || p.NamespaceSelector != nil
	if p.PodSelector != nil {
		errs = append(errs, validateSelector(p.PodSelector, path.Child("podSelector"))...)
	}
	if p.NamespaceSelector != nil {
		errs = append(errs, validateSelector(p.NamespaceSelector, path.Child("namespaceSelector"))...)
	}
	if p.IPBlock != nil {
		errs = append(errs, validateIPBlock(p.IPBlock, known, path.Child("ipBlock"))...)
	}
	switch {
	case !selects && p.IPBlock == nil:
		errs = append(errs, field.Required(path, "must specify a peer"))
	case selects && p.IPBlock != nil:
		errs = append(errs, field.Forbidden(path, "may not specify both ipBlock and another peer"))
	}
	return errs
}

func validateIPBlock(b *networkingv1.IPBlock, known []string, path *field.Path) field.ErrorList {
	if b.CIDR == "" {
		return field.ErrorList{field.Required(path.Child("cidr"), "")}
	}
	errs := validation.IsValidCIDRForLegacyField(path.Child("cidr"), b.CIDR, true, known)
	_, block, err := netutils.ParseCIDRSloppy(b.CIDR)
	if err != nil {
		return errs
	}
	size, _ := block.Mask.Size()
	for i, text := range b.Except {
		at := path.Child("except").Index(i)
		errs = append(errs, validation.IsValidCIDRForLegacyField(at, text, true, known)...)
		_, except, err := netutils.ParseCIDRSloppy(text)
		if err != nil {
			continue
		}
		if exceptSize, _ := except.Mask.Size(); !block.Contains(except.IP) || size >= exceptSize {
			errs = append(errs, field.Invalid(at, text, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}

func cidrsOf(spec *networkingv1.NetworkPolicySpec) []string {
	var known []string
	eachIPBlock(spec, func(b *networkingv1.IPBlock, _ func() *field.Path) {
		known = append(append(known, b.CIDR), b.Except...)
	})
	return slices.Clip(known)
}

func warnNetworkPolicy(p *networkingv1.NetworkPolicy) []string {
	var warnings []string
	eachIPBlock(&p.Spec, func(b *networkingv1.IPBlock, path func() *field.Path) {
		at := path()
		warnings = append(warnings, validation.GetWarningsForCIDR(at.Child("cidr"), b.CIDR)...)
		for i, except := range b.Except {
			warnings = append(warnings, validation.GetWarningsForCIDR(at.Child("except").Index(i), except)...)
		}
	})
	return warnings
}

func eachIPBlock(spec *networkingv1.NetworkPolicySpec, f func(b *networkingv1.IPBlock, path func() *field.Path)) {
	visit := func(peers []networkingv1.NetworkPolicyPeer, direction string, rule int, side string) {
		for i := range peers {
			if b := peers[i].IPBlock; b != nil {
				f(b, func() *field.Path {
					return field.NewPath("spec").Child(direction).Index(rule).Child(side).Index(i).Child("ipBlock")
				})
			}
		}
	}
	for i := range spec.Ingress {
		visit(spec.Ingress[i].From, "ingress", i, "from")
	}
	for i := range spec.Egress {
		visit(spec.Egress[i].To, "egress", i, "to")
	}
}
