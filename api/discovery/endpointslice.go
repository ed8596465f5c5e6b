package discovery

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
)

// Limits of a slice.
const (
	maxEndpoints  = 1000
	maxAddresses  = 100
	maxPorts      = 20000
	maxHints      = 8
	maxTopologies = 16
)

var endpointSliceHooks = scheme.Hooks[discoveryv1.EndpointSlice]{
	Default:       defaultEndpointSlice,
	PrepareCreate: func(_ scheme.Context, s *discoveryv1.EndpointSlice) { dropTopology(s, nil) },
	PrepareUpdate: func(_ scheme.Context, s, old *discoveryv1.EndpointSlice) { dropTopology(s, old) },
	ValidateCreate: func(s *discoveryv1.EndpointSlice) field.ErrorList {
		return validateEndpointSlice(s, nil)
	},
	ValidateUpdate: func(s, old *discoveryv1.EndpointSlice) field.ErrorList {
		errs := validateEndpointSlice(s, addressesOf(old))
		return append(errs, check.Unchanged(field.NewPath("addressType"), s.AddressType, old.AddressType, nil)...)
	},
	WarnCreate: func(s *discoveryv1.EndpointSlice) []string {
		if s.AddressType == discoveryv1.AddressTypeFQDN {
			return []string{"spec.addressType: FQDN endpoints are deprecated"}
		}
		return warnAddresses(s)
	},
	WarnUpdate:  func(s, _ *discoveryv1.EndpointSlice) []string { return warnAddresses(s) },
	SpecChanged: sliceChanged,
}

func defaultEndpointSlice(s *discoveryv1.EndpointSlice) {
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.Name == nil {
			p.Name = new(string)
		}
		if p.Protocol == nil {
			tcp := corev1.ProtocolTCP
			p.Protocol = &tcp
		}
	}
}

// sliceChanged counts changes of labels and annotations too: those of an
// EndpointSlice say what it belongs to.
func sliceChanged(s, old *discoveryv1.EndpointSlice) bool {
	return s.AddressType != old.AddressType ||
		!maps.Equal(s.Labels, old.Labels) || !maps.Equal(s.Annotations, old.Annotations) ||
		!slices.Equal(s.Finalizers, old.Finalizers) ||
		!apiequality.Semantic.DeepEqual(s.OwnerReferences, old.OwnerReferences) ||
		!apiequality.Semantic.DeepEqual(s.DeletionTimestamp, old.DeletionTimestamp) ||
		!apiequality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) || !apiequality.Semantic.DeepEqual(s.Ports, old.Ports)
}

// dropTopology removes the field that only v1beta1 could set. Slices written
// then may keep the host name of endpoints that have no nodeName, as long as
// the host was in the slice before.
func dropTopology(s, old *discoveryv1.EndpointSlice) {
	if old != nil && apiequality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) {
		return
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if e.DeprecatedTopology == nil {
			continue
		}
		host, ok := e.DeprecatedTopology[corev1.LabelHostname]
		e.DeprecatedTopology = nil
		if ok && e.NodeName == nil && old != nil && hasTopologyHost(old, host) {
			e.DeprecatedTopology = map[string]string{corev1.LabelHostname: host}
		}
	}
}

func hasTopologyHost(s *discoveryv1.EndpointSlice, host string) bool {
	for i := range s.Endpoints {
		if h, ok := s.Endpoints[i].DeprecatedTopology[corev1.LabelHostname]; ok && h == host {
			return true
		}
	}
	return false
}

// validateEndpointSlice takes as known the addresses of the old slice, which
// are not checked again.
func validateEndpointSlice(s *discoveryv1.EndpointSlice, known map[string]bool) field.ErrorList {
	var errs field.ErrorList
	if s.AddressType == "" {
		errs = append(errs, field.Required(field.NewPath("addressType"), ""))
	} else {
		errs = append(errs, check.OneOf(field.NewPath("addressType"), s.AddressType,
			discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)...)
	}
	errs = append(errs, validateEndpoints(s.Endpoints, s.AddressType, known, field.NewPath("endpoints"))...)
	return append(errs, validatePorts(s.Ports, field.NewPath("ports"))...)
}

func addressesOf(s *discoveryv1.EndpointSlice) map[string]bool {
	known := map[string]bool{}
	for i := range s.Endpoints {
		for _, a := range s.Endpoints[i].Addresses {
			known[a] = true
		}
	}
	return known
}

func validateEndpoints(endpoints []discoveryv1.Endpoint, t discoveryv1.AddressType, known map[string]bool, path *field.Path) field.ErrorList {
	if len(endpoints) > maxEndpoints {
		return field.ErrorList{field.TooMany(path, len(endpoints), maxEndpoints)}
	}
	var errs field.ErrorList
	for i := range endpoints {
		errs = append(errs, validateEndpoint(&endpoints[i], t, known, path.Index(i))...)
	}
	return errs
}

func validateEndpoint(e *discoveryv1.Endpoint, t discoveryv1.AddressType, known map[string]bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("addresses")
	switch {
	case len(e.Addresses) == 0:
		errs = append(errs, field.Required(at, "must contain at least 1 address"))
	case len(e.Addresses) > maxAddresses:
		errs = append(errs, field.TooMany(at, len(e.Addresses), maxAddresses))
	}
	for i, a := range e.Addresses {
		if !known[a] {
			errs = append(errs, validateAddress(a, t, at.Index(i))...)
		}
	}
	if e.NodeName != nil {
		errs = append(errs, check.Subdomain(path.Child("nodeName"), *e.NodeName)...)
	}
	if e.DeprecatedTopology != nil {
		errs = append(errs, validateTopology(e.DeprecatedTopology, path.Child("deprecatedTopology"))...)
	}
	if e.Hostname != nil {
		errs = append(errs, check.Label(path.Child("hostname"), *e.Hostname)...)
	}
	if e.Hints != nil {
		errs = append(errs, validateHints(e.Hints, path.Child("hints"))...)
	}
	return errs
}

func validateTopology(topology map[string]string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(topology) > maxTopologies {
		errs = append(errs, field.TooMany(path, len(topology), maxTopologies))
	}
	return append(errs, metavalidation.ValidateLabels(topology, path)...)
}

func validateAddress(a string, t discoveryv1.AddressType, path *field.Path) field.ErrorList {
	switch t {
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6:
		errs := validation.IsValidIP(path, a)
		if len(errs) > 0 {
			return errs
		}
		if t == discoveryv1.AddressTypeIPv4 && !netutils.IsIPv4String(a) {
			return field.ErrorList{field.Invalid(path, a, "must be an IPv4 address")}
		}
		if t == discoveryv1.AddressTypeIPv6 && !netutils.IsIPv6String(a) {
			return field.ErrorList{field.Invalid(path, a, "must be an IPv6 address")}
		}
		return validateRoutable(a, path)
	case discoveryv1.AddressTypeFQDN:
		return validation.IsFullyQualifiedDomainName(path, a)
	}
	return nil
}

// validateRoutable refuses addresses that no other host could mean.
func validateRoutable(a string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	ip := netutils.ParseIPSloppy(a)
	if ip.IsUnspecified() {
		errs = append(errs, field.Invalid(path, a, "may not be unspecified ("+a+")"))
	}
	if ip.IsLoopback() {
		errs = append(errs, field.Invalid(path, a, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
	}
	if ip.IsLinkLocalUnicast() {
		errs = append(errs, field.Invalid(path, a, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
	}
	if ip.IsLinkLocalMulticast() {
		errs = append(errs, field.Invalid(path, a, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))
	}
	return errs
}

func validateHints(h *discoveryv1.EndpointHints, path *field.Path) field.ErrorList {
	zones, nodes := path.Child("forZones"), path.Child("forNodes")
	if len(h.ForZones) > maxHints {
		return field.ErrorList{field.TooMany(zones, len(h.ForZones), maxHints)}
	}
	var errs field.ErrorList
	for i, z := range h.ForZones {
		at := zones.Index(i).Child("name")
		if slices.Contains(h.ForZones[:i], z) {
			errs = append(errs, field.Duplicate(at, z.Name))
			continue
		}
		errs = append(errs, check.Messages(at, z.Name, validation.IsValidLabelValue(z.Name))...)
	}
	if len(h.ForNodes) > maxHints {
		return append(errs, field.TooMany(nodes, len(h.ForNodes), maxHints))
	}
	for i, n := range h.ForNodes {
		at := nodes.Index(i).Child("name")
		if slices.Contains(h.ForNodes[:i], n) {
			errs = append(errs, field.Duplicate(at, n.Name))
			continue
		}
		errs = append(errs, check.Subdomain(at, n.Name)...)
	}
	return errs
}

func validatePorts(ports []discoveryv1.EndpointPort, path *field.Path) field.ErrorList {
	if len(ports) > maxPorts {
		return field.ErrorList{field.TooMany(path, len(ports), maxPorts)}
	}
	var errs field.ErrorList
	seen := make(map[string]bool, len(ports))
	for i := range ports {
		p, at := &ports[i], path.Index(i)
		if p.Name != nil {
			if seen[*p.Name] {
				errs = append(errs, field.Duplicate(at.Child("name"), *p.Name))
			}
			seen[*p.Name] = true
			if *p.Name != "" {
				errs = append(errs, check.Label(at.Child("name"), *p.Name)...)
			}
		}
		if p.Protocol == nil {
			errs = append(errs, field.Required(at.Child("protocol"), ""))
		} else {
			errs = append(errs, check.OneOfSorted(at.Child("protocol"), *p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		}
		if p.AppProtocol != nil {
			errs = append(errs, check.QualifiedName(at.Child("appProtocol"), *p.AppProtocol)...)
		}
	}
	return errs
}

func warnAddresses(s *discoveryv1.EndpointSlice) []string {
	if s.AddressType == discoveryv1.AddressTypeFQDN {
		return nil
	}
	var warnings []string
	for i := range s.Endpoints {
		for j, a := range s.Endpoints[i].Addresses {
			if plainIPv4(a) {
				continue
			}
			warnings = append(warnings, validation.GetWarningsForIP(field.NewPath("endpoints").Index(i).Child("addresses").Index(j), a)...)
		}
	}
	return warnings
}

// plainIPv4 is true for addresses that surely need no warning, which is nearly
// all of them: slices are written often.
func plainIPv4(a string) bool {
	digits, parts := 0, 1
	for i := range len(a) {
		switch c := a[i]; {
		case c == '.':
			if digits == 0 {
				return false
			}
			digits, parts = 0, parts+1
		case c >= '0' && c <= '9':
			if digits == 1 && a[i-1] == '0' {
				return false
			}
			digits++
		default:
			return false
		}
	}
	return parts == 4 && digits > 0
}
