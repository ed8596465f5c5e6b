package core

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// What a resolv.conf can hold.
const (
	maxNameservers = 3
	maxSearchPaths = 32
	maxSearchChars = 2048
)

func validateDNSPolicy(policy corev1.DNSPolicy, path *field.Path) field.ErrorList {
	switch policy {
	case corev1.DNSClusterFirst, corev1.DNSClusterFirstWithHostNet, corev1.DNSDefault, corev1.DNSNone:
		return nil
	case "":
		return field.ErrorList{field.Required(path.Child("dnsPolicy"), "")}
	}
	return check.OneOf(path.Child("dnsPolicy"), policy, corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)
}

func (ch *podChecks) dnsConfig(p *field.Path) field.ErrorList {
	c := ch.spec.DNSConfig
	if ch.spec.DNSPolicy == corev1.DNSNone {
		if c == nil {
			return field.ErrorList{field.Required(p, "must provide `dnsConfig` when `dnsPolicy` is None")}
		}
		if len(c.Nameservers) == 0 {
			return field.ErrorList{field.Required(p.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")}
		}
	}
	if c == nil {
		return nil
	}
	var errs field.ErrorList
	if len(c.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(p.Child("nameservers"), c.Nameservers, "must not have more than 3 nameservers"))
	}
	for i, ns := range c.Nameservers {
		errs = append(errs, ch.ip(p.Child("nameservers").Index(i), ns)...)
	}
	if len(c.Searches) > maxSearchPaths {
		errs = append(errs, field.Invalid(p.Child("searches"), c.Searches, "must not have more than 32 search paths"))
	}
	if len(strings.Join(c.Searches, " ")) > maxSearchChars {
		errs = append(errs, field.Invalid(p.Child("searches"), c.Searches, "must not have more than 2048 characters (including spaces) in the search list"))
	}
	for i, s := range c.Searches {
		if s != "." {
			name := strings.TrimSuffix(s, ".")
			errs = append(errs, check.Messages(p.Child("searches").Index(i), s, utilvalidation.IsDNS1123SubdomainWithUnderscore(name))...)
		}
	}
	for i := range c.Options {
		if c.Options[i].Name == "" {
			errs = append(errs, field.Required(p.Child("options").Index(i), "must not be empty"))
		}
	}
	return errs
}

// ip checks an address of a pod's network files; an old pod may keep one in a
// notation that is ambiguous.
func (c *podChecks) ip(p *field.Path, ip string) field.ErrorList {
	if c.relaxed.looseIPs {
		return utilvalidation.IsValidIPForLegacyField(p, ip, false, nil)
	}
	return validateIP(ip, nil, p)
}

func (c *podChecks) hostAliases(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	aliases := c.spec.HostAliases
	for i := range aliases {
		errs = append(errs, c.ip(path.Index(i).Child("ip"), aliases[i].IP)...)
		for j, name := range aliases[i].Hostnames {
			errs = append(errs, check.Subdomain(path.Index(i).Child("hostnames").Index(j), name)...)
		}
	}
	return errs
}

// maxHostname is the longest name that Linux keeps for a host.
const maxHostname = 64

func validateHostname(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Hostname != "" {
		errs = append(errs, check.Label(path.Child("hostname"), s.Hostname)...)
	}
	if s.Subdomain != "" {
		errs = append(errs, check.Label(path.Child("subdomain"), s.Subdomain)...)
	}
	if s.HostnameOverride == nil {
		return errs
	}
	name, p := *s.HostnameOverride, path.Child("hostnameOverride")
	errs = append(errs, check.Subdomain(p, name)...)
	if len(name) > maxHostname {
		errs = append(errs, field.TooLong(p, name, maxHostname))
	}
	if yes(s.SetHostnameAsFQDN) {
		errs = append(errs, field.Forbidden(p, "may not be specified when setHostnameAsFQDN is true"))
	}
	if s.HostNetwork {
		errs = append(errs, field.Forbidden(p, "may not be specified when hostNetwork is true"))
	}
	return errs
}
