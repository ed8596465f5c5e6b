package core

import (
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func endpointsResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Endpoints",
		Plural: "endpoints", Singular: "endpoints",
		ShortNames:    []string{"ep"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.Endpoints) },
		NewList:       func() runtime.Object { return new(corev1.EndpointsList) },
		StoragePrefix: "services/endpoints",
		Served: []scheme.Version{{
			Version: "v1", Deprecated: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
		}},
		Columns: []metav1.TableColumnDefinition{
			table.Name(),
			table.Field("Endpoints", corev1.Endpoints{}, "subsets"),
			table.Age(),
		},
		Row: scheme.Rows(func(e *corev1.Endpoints, now metav1.Time) []any {
			return []any{e.Name, table.OrNone(table.Join(readyEndpoints(e), 3)), table.Since(e.CreationTimestamp, now)}
		}),
		Strategy: scheme.Hooks[corev1.Endpoints]{
			Default:        DefaultEndpoints,
			ValidateCreate: func(e *corev1.Endpoints) field.ErrorList { return ValidateEndpoints(e, nil) },
			WarnCreate:     warnEndpoints,
			ValidateUpdate: ValidateEndpoints,
			WarnUpdate:     func(e, _ *corev1.Endpoints) []string { return warnEndpoints(e) },
			CreateOnUpdate: true,
		}.Erase(),
	}
}

// readyEndpoints lists address:port of each ready endpoint, or the address
// alone where there are no ports (headless services).
func readyEndpoints(e *corev1.Endpoints) []string {
	var list []string
	for i := range e.Subsets {
		s := &e.Subsets[i]
		if len(s.Ports) == 0 {
			for j := range s.Addresses {
				list = append(list, s.Addresses[j].IP)
			}
		}
		for _, p := range s.Ports {
			for j := range s.Addresses {
				list = append(list, net.JoinHostPort(s.Addresses[j].IP, strconv.Itoa(int(p.Port))))
			}
		}
	}
	return list
}

// ValidateEndpoints checks addresses and ports; addresses of old, which is nil
// on create, may keep a form that is no longer taken.
func ValidateEndpoints(e, old *corev1.Endpoints) field.ErrorList {
	var errs field.ErrorList
	var known []string
	if old != nil {
		known = endpointIPs(old)
	}
	for i := range e.Subsets {
		s := &e.Subsets[i]
		path := field.NewPath("subsets").Index(i)
		if len(s.Addresses) == 0 && len(s.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(path, "must specify `addresses` or `notReadyAddresses`"))
		}
		for j := range s.Addresses {
			errs = append(errs, validateEndpointAddress(&s.Addresses[j], known, path.Child("addresses").Index(j))...)
		}
		for j := range s.NotReadyAddresses {
			errs = append(errs, validateEndpointAddress(&s.NotReadyAddresses[j], known, path.Child("notReadyAddresses").Index(j))...)
		}
		for j := range s.Ports {
			errs = append(errs, validateEndpointPort(&s.Ports[j], len(s.Ports) > 1, path.Child("ports").Index(j))...)
		}
	}
	return errs
}

func endpointIPs(e *corev1.Endpoints) []string {
	var ips []string
	for i := range e.Subsets {
		for j := range e.Subsets[i].Addresses {
			ips = append(ips, e.Subsets[i].Addresses[j].IP)
		}
		for j := range e.Subsets[i].NotReadyAddresses {
			ips = append(ips, e.Subsets[i].NotReadyAddresses[j].IP)
		}
	}
	return ips
}

func validateEndpointAddress(a *corev1.EndpointAddress, known []string, path *field.Path) field.ErrorList {
	errs := validateIP(a.IP, known, path.Child("ip"))
	if a.Hostname != "" {
		errs = append(errs, check.Label(path.Child("hostname"), a.Hostname)...)
	}
	if a.NodeName != nil {
		errs = append(errs, check.Subdomain(path.Child("nodeName"), *a.NodeName)...)
	}
	return append(errs, validateEndpointIP(a.IP, path.Child("ip"))...)
}

func validateEndpointPort(p *corev1.EndpointPort, needsName bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p.Name != "" {
		errs = check.Label(path.Child("name"), p.Name)
	} else if needsName {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	errs = append(errs, check.Messages(path.Child("port"), p.Port, utilvalidation.IsValidPortNum(int(p.Port)))...)
	errs = append(errs, validateProtocol(p.Protocol, path.Child("protocol"))...)
	if p.AppProtocol != nil {
		errs = append(errs, check.QualifiedName(path.Child("appProtocol"), *p.AppProtocol)...)
	}
	return errs
}

func validateProtocol(p corev1.Protocol, path *field.Path) field.ErrorList {
	if p == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return check.OneOf(path, p, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
}

// warnEndpoints speaks of addresses in odd forms, except to the controller,
// which tidies what it copies.
func warnEndpoints(e *corev1.Endpoints) []string {
	if e.Labels["endpoints.kubernetes.io/managed-by"] == "endpoint-controller" {
		return nil
	}
	var warnings []string
	warn := func(list []corev1.EndpointAddress, path *field.Path) {
		for i := range list {
			warnings = append(warnings, warnIP(list[i].IP, path.Index(i).Child("ip"))...)
		}
	}
	for i := range e.Subsets {
		path := field.NewPath("subsets").Index(i)
		warn(e.Subsets[i].Addresses, path.Child("addresses"))
		warn(e.Subsets[i].NotReadyAddresses, path.Child("notReadyAddresses"))
	}
	return warnings
}
