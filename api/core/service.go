package core

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func serviceResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Service",
		Plural: "services", Singular: "service",
		ShortNames:    []string{"svc"},
		Categories:    []string{"all"},
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.Service) },
		NewList:       func() runtime.Object { return new(corev1.ServiceList) },
		StoragePrefix: "services/specs",
		Fields:        []scheme.SelectableField{{Label: "spec.clusterIP"}, {Label: "spec.type"}},
		Columns:       serviceColumns(),
		Row:           scheme.Rows(serviceRow),
		Strategy: scheme.Hooks[corev1.Service]{
			Default:        DefaultService,
			PrepareCreate:  prepareService,
			ValidateName:   apivalidation.NameIsDNSLabel,
			ValidateCreate: func(s *corev1.Service) field.ErrorList { return ValidateService(s, nil) },
			WarnCreate:     warnService,
			PrepareUpdate:  prepareServiceUpdate,
			ValidateUpdate: ValidateServiceUpdate,
			WarnUpdate:     func(s, _ *corev1.Service) []string { return warnService(s) },
			ResetFields:    []string{"status"},
			CreateOnUpdate: true,
		}.Erase(),
		Subresources: []scheme.Subresource{
			{Name: "proxy", Group: "", Version: "v1", Kind: "ServiceProxyOptions", Verbs: []string{"create", "delete", "get", "patch", "update"}},
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[corev1.Service]{
				PrepareUpdate:  func(_ scheme.Context, s, old *corev1.Service) { s.Spec = old.Spec },
				ValidateUpdate: validateServiceStatus,
				ResetFields:    []string{"spec"},
			}.Pointer()},
		},
	}
}

func warnService(s *corev1.Service) []string {
	spec, path := &s.Spec, field.NewPath("spec")
	var warnings []string
	add := func(text string) { warnings = append(warnings, text) }
	if _, ok := s.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]; ok {
		add("annotation " + corev1.DeprecatedAnnotationTopologyAwareHints + " is deprecated, please use " + corev1.AnnotationTopologyMode + " instead")
	}
	headless := ServiceIsHeadless(s)
	if !headless {
		for i, ip := range spec.ClusterIPs {
			warnings = append(warnings, warnIP(ip, path.Child("clusterIPs").Index(i))...)
		}
	}
	for i, ip := range spec.ExternalIPs {
		warnings = append(warnings, warnIP(ip, path.Child("externalIPs").Index(i))...)
	}
	if isAddress(spec.LoadBalancerIP) {
		warnings = append(warnings, warnIP(spec.LoadBalancerIP, path.Child("loadBalancerIP"))...)
	}
	for i, r := range spec.LoadBalancerSourceRanges {
		warnings = append(warnings, utilvalidation.GetWarningsForCIDR(path.Child("loadBalancerSourceRanges").Index(i), strings.TrimSpace(r))...)
	}
	if len(spec.ExternalIPs) > 0 && spec.Type == corev1.ServiceTypeExternalName {
		add(`spec.externalIPs is ignored when spec.type is "ExternalName"`)
	}
	if spec.ExternalName != "" && spec.Type != corev1.ServiceTypeExternalName {
		add(`spec.externalName is ignored when spec.type is not "ExternalName"`)
	}
	if d := spec.TrafficDistribution; d != nil && *d == corev1.ServiceTrafficDistributionPreferClose {
		add(`spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"`)
	}
	if headless {
		if spec.LoadBalancerIP != "" {
			add("spec.loadBalancerIP is ignored for headless services")
		}
		if len(spec.ExternalIPs) > 0 {
			add("spec.externalIPs is ignored for headless services")
		}
		if spec.SessionAffinity != corev1.ServiceAffinityNone {
			add("spec.SessionAffinity is ignored for headless services")
		}
	} else if len(spec.ExternalIPs) > 0 && spec.Type != corev1.ServiceTypeExternalName {
		add("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
	}
	return warnings
}

func serviceColumns() []metav1.TableColumnDefinition {
	spec := corev1.ServiceSpec{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("Type", spec, "type"),
		table.Field("Cluster-IP", spec, "clusterIP"),
		table.Field("External-IP", spec, "externalIPs"),
		table.Field("Port(s)", spec, "ports"),
		table.Age(),
		table.Wide(table.Field("Selector", spec, "selector")),
	}
}

func serviceRow(s *corev1.Service, now metav1.Time) []any {
	ip := "<none>"
	if len(s.Spec.ClusterIPs) > 0 {
		ip = s.Spec.ClusterIPs[0]
	}
	return []any{
		s.Name, string(s.Spec.Type), ip, externalAddresses(s), table.OrNone(portsText(s.Spec.Ports)),
		table.Since(s.CreationTimestamp, now), labels.FormatLabels(s.Spec.Selector),
	}
}

func externalAddresses(s *corev1.Service) string {
	switch s.Spec.Type {
	case corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	case corev1.ServiceTypeLoadBalancer:
		var list []string
		for _, in := range s.Status.LoadBalancer.Ingress {
			address := in.IP
			if address == "" {
				address = in.Hostname
			}
			if address != "" {
				list = append(list, address)
			}
		}
		slices.Sort(list)
		list = append(slices.Compact(list), s.Spec.ExternalIPs...)
		if len(list) == 0 {
			return "<pending>"
		}
		return strings.Join(list, ",")
	}
	return table.OrNone(strings.Join(s.Spec.ExternalIPs, ","))
}

func portsText(ports []corev1.ServicePort) string {
	text := make([]string, len(ports))
	for i, p := range ports {
		text[i] = strconv.Itoa(int(p.Port))
		if p.NodePort > 0 {
			text[i] += ":" + strconv.Itoa(int(p.NodePort))
		}
		text[i] += "/" + string(p.Protocol)
	}
	return strings.Join(text, ",")
}
