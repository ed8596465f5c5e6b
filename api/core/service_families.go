package core

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// InitServiceFamilies fills ipFamilies and ipFamilyPolicy from what was asked
// for and the address families the cluster has, its primary one first. old is
// nil on create. It is called between PrepareServiceIPs and allocation; with
// errors the service is refused, and nothing else is looked at.
func InitServiceFamilies(s, old *corev1.Service, cluster []corev1.IPFamily) field.ErrorList {
	if !ServiceNeedsClusterIP(s) {
		return nil
	}
	if old != nil && ServiceNeedsClusterIP(old) {
		trimToSingle(&s.Spec, &old.Spec)
	}
	if errs := ValidateServiceClusterIPs(s, old); len(errs) > 0 {
		return errs
	}
	// A service that merely prefers two families keeps the one it has.
	if old != nil && ServiceNeedsClusterIP(old) && samePreferring(&s.Spec, &old.Spec) {
		return nil
	}
	if errs := familiesFromIPs(&s.Spec, cluster); len(errs) > 0 {
		return errs
	}
	if ServiceIsHeadless(s) && len(s.Spec.Selector) == 0 {
		bothFamilies(&s.Spec, cluster[0])
		return nil
	}
	return fillFamilies(&s.Spec, cluster)
}

// trimToSingle drops the second address and family of a service that goes back
// to a single one, where the writer left them as they were.
func trimToSingle(now, was *corev1.ServiceSpec) {
	if familyPolicy(now) != corev1.IPFamilyPolicySingleStack || now.IPFamilyPolicy == nil || familyPolicy(was) == corev1.IPFamilyPolicySingleStack {
		return
	}
	if len(now.ClusterIPs) == 2 && slices.Equal(now.ClusterIPs, was.ClusterIPs) {
		now.ClusterIPs = now.ClusterIPs[:1:1]
	}
	if len(now.IPFamilies) == 2 && slices.Equal(now.IPFamilies, was.IPFamilies) {
		now.IPFamilies = now.IPFamilies[:1:1]
	}
}

func samePreferring(now, was *corev1.ServiceSpec) bool {
	return familyPolicy(now) == corev1.IPFamilyPolicyPreferDualStack && familyPolicy(was) == corev1.IPFamilyPolicyPreferDualStack &&
		len(now.IPFamilies) > 0 && slices.Equal(now.IPFamilies, was.IPFamilies) && slices.Equal(now.ClusterIPs, was.ClusterIPs)
}

func familyPolicy(s *corev1.ServiceSpec) corev1.IPFamilyPolicy {
	if s.IPFamilyPolicy == nil {
		return corev1.IPFamilyPolicySingleStack
	}
	return *s.IPFamilyPolicy
}

// familiesFromIPs adds the families of addresses that were asked for.
func familiesFromIPs(s *corev1.ServiceSpec, cluster []corev1.IPFamily) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	if p := familyPolicy(s); p == corev1.IPFamilyPolicySingleStack {
		const must = "must be 'RequireDualStack' or 'PreferDualStack' when multiple "
		if len(s.ClusterIPs) == 2 {
			errs = append(errs, field.Invalid(spec.Child("ipFamilyPolicy"), p, must+"cluster IPs are specified"))
		}
		if len(s.IPFamilies) == 2 {
			errs = append(errs, field.Invalid(spec.Child("ipFamilyPolicy"), p, must+"IP families are specified"))
		}
	}
	for i, ip := range s.ClusterIPs {
		if ip == corev1.ClusterIPNone {
			break
		}
		if i < len(s.IPFamilies) {
			continue
		}
		if f := IPFamilyOf(ip); slices.Contains(cluster, f) {
			s.IPFamilies = append(s.IPFamilies, f)
		} else {
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(i), s.ClusterIPs, fmt.Sprintf("%s is not configured on this cluster", f)))
		}
	}
	return errs
}

// bothFamilies is for a headless service without selector: its endpoints are
// somebody else's, of whichever families.
func bothFamilies(s *corev1.ServiceSpec, primary corev1.IPFamily) {
	if len(s.IPFamilies) == 0 {
		s.IPFamilies = []corev1.IPFamily{primary}
	}
	if len(s.IPFamilies) == 1 && (s.IPFamilyPolicy == nil || *s.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack) {
		s.IPFamilies = append(s.IPFamilies, otherFamily(s.IPFamilies[0]))
	}
	if s.IPFamilyPolicy == nil {
		s.IPFamilyPolicy = new(corev1.IPFamilyPolicyRequireDualStack)
	}
}

func fillFamilies(s *corev1.ServiceSpec, cluster []corev1.IPFamily) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	policy := familyPolicy(s)
	if policy == corev1.IPFamilyPolicyRequireDualStack && len(cluster) < 2 {
		errs = append(errs, field.Invalid(spec.Child("ipFamilyPolicy"), policy, "this cluster is not configured for dual-stack services"))
	}
	for i, f := range s.IPFamilies {
		if !slices.Contains(cluster, f) {
			errs = append(errs, field.Invalid(spec.Child("ipFamilies").Index(i), f, "not configured on this cluster"))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	if s.IPFamilyPolicy == nil {
		s.IPFamilyPolicy = new(corev1.IPFamilyPolicySingleStack)
	}
	if len(s.IPFamilies) == 0 {
		s.IPFamilies = []corev1.IPFamily{cluster[0]}
	}
	if len(s.IPFamilies) == 1 && policy != corev1.IPFamilyPolicySingleStack && len(cluster) > 1 {
		s.IPFamilies = append(s.IPFamilies, otherFamily(s.IPFamilies[0]))
	}
	return nil
}

func otherFamily(f corev1.IPFamily) corev1.IPFamily {
	if f == corev1.IPv4Protocol {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

// IPFamilyOf is the family of a valid address.
func IPFamilyOf(ip string) corev1.IPFamily {
	a, ok := parseLegacyIP(ip)
	if ok && a.Is4() || !ok {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// ValidateServiceClusterIPs checks the fields about addresses and families.
func ValidateServiceClusterIPs(s, old *corev1.Service) field.ErrorList {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	spec, path := &s.Spec, field.NewPath("spec")
	ips := path.Child("clusterIPs")
	var errs field.ErrorList
	switch {
	case spec.ClusterIP == "" && len(spec.ClusterIPs) > 0:
		errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "must be empty when `clusterIP` is not specified"))
	case spec.ClusterIP != "" && len(spec.ClusterIPs) == 0:
		errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "must be set when `clusterIP` is specified"))
	case spec.ClusterIP != "" && spec.ClusterIP != spec.ClusterIPs[0]:
		errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "first value must match `clusterIP`"))
	}
	errs = append(errs, validateFamilies(spec, path)...)
	bad := validateIPList(spec.ClusterIPs, old, ips)
	errs = append(errs, bad...)
	if len(spec.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(ips, spec.ClusterIPs, "may only hold up to 2 values"))
	}
	if len(bad) > 0 {
		// What follows would speak of addresses that are none.
		return errs
	}
	return append(errs, validateIPFamilies(spec, ips)...)
}

func validateFamilies(spec *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, f := range spec.IPFamilies {
		at := path.Child("ipFamilies").Index(i)
		if f != corev1.IPv4Protocol && f != corev1.IPv6Protocol {
			errs = append(errs, field.NotSupported(at, f, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}))
		}
		if slices.Contains(spec.IPFamilies[:i], f) {
			errs = append(errs, field.Duplicate(at, f))
		}
	}
	if p := spec.IPFamilyPolicy; p != nil {
		switch *p {
		case corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack:
		default:
			errs = append(errs, field.NotSupported(path.Child("ipFamilyPolicy"), *p, []corev1.IPFamilyPolicy{
				corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack}))
		}
	}
	return errs
}

func validateIPList(list []string, old *corev1.Service, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var known []string
	if old != nil {
		known = old.Spec.ClusterIPs
	}
	for i, ip := range list {
		if i == 0 && ip == corev1.ClusterIPNone {
			if len(list) > 1 {
				errs = append(errs, field.Invalid(path, list, "'None' must be the first and only value"))
			}
			continue
		}
		errs = append(errs, validateIP(ip, known, path.Index(i))...)
	}
	return errs
}

// validateIPFamilies compares addresses, which are valid, with the families.
func validateIPFamilies(spec *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	list := spec.ClusterIPs
	if len(list) > 1 && !slices.ContainsFunc(list, func(ip string) bool { return IPFamilyOf(ip) != IPFamilyOf(list[0]) }) {
		errs = append(errs, field.Invalid(path, list, "may specify no more than one IP for each IP family"))
	}
	if len(list) > 0 && list[0] == corev1.ClusterIPNone {
		return errs
	}
	for i, ip := range list {
		if i >= len(spec.IPFamilies) {
			break
		}
		if f := spec.IPFamilies[i]; (f == corev1.IPv4Protocol || f == corev1.IPv6Protocol) && f != IPFamilyOf(ip) {
			errs = append(errs, field.Invalid(path.Index(i), ip, fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%d]`", f, i)))
		}
	}
	return errs
}

// isAddress reports whether a host name is an address.
func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
