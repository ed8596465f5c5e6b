package core

import (
	"net/netip"
	"strings"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateIP checks an address, strictly: no leading zeros, no IPv4 in IPv6.
// What an old object already has may stay.
func validateIP(ip string, old []string, path *field.Path) field.ErrorList {
	if canonicalIP(ip) {
		return nil
	}
	return utilvalidation.IsValidIPForLegacyField(path, ip, true, old)
}

// canonicalIP decides the common case without allocating.
func canonicalIP(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.Zone() == "" && !a.Is4In6()
}

// validateEndpointIP refuses addresses that reach only the machine itself or
// its link: traffic sent there would not reach an endpoint, and would let a
// user point the proxy at the node's own services.
func validateEndpointIP(ip string, path *field.Path) field.ErrorList {
	a, ok := parseLegacyIP(ip)
	if !ok {
		return field.ErrorList{field.Invalid(path, ip, "must be a valid IP address")}
	}
	detail := ""
	switch {
	case a.IsUnspecified():
		detail = "may not be unspecified (" + ip + ")"
	case a.IsLoopback():
		detail = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
	case a.IsLinkLocalUnicast():
		detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
	case a.IsLinkLocalMulticast():
		detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
	default:
		return nil
	}
	return field.ErrorList{field.Invalid(path, ip, detail)}
}

// parseLegacyIP reads an address as old servers did: zeros may lead, IPv4 may
// be written as IPv6.
func parseLegacyIP(ip string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(ip)
	if err != nil && !strings.Contains(ip, ":") {
		parts := strings.Split(ip, ".")
		for i, p := range parts {
			if parts[i] = strings.TrimLeft(p, "0"); parts[i] == "" && p != "" {
				parts[i] = "0"
			}
		}
		a, err = netip.ParseAddr(strings.Join(parts, "."))
	}
	return a.Unmap(), err == nil && a.Zone() == ""
}

// warnIP speaks of an address in an odd form.
func warnIP(ip string, path *field.Path) []string {
	if a, err := netip.ParseAddr(ip); err == nil && a.Is4() {
		return nil
	}
	return utilvalidation.GetWarningsForIP(path, ip)
}
