// Package networking has the resources of the API group networking.k8s.io: names, defaults, validation,
// columns and update rules.
package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/api/version"
)

const group = "networking.k8s.io"

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: group, Version: "v1", Kind: "IngressClass",
			Plural: "ingressclasses", Singular: "ingressclass",
			New:           func() runtime.Object { return new(networkingv1.IngressClass) },
			NewList:       func() runtime.Object { return new(networkingv1.IngressClassList) },
			StoragePrefix: "ingressclasses",
			Strategy:      ingressClassHooks.Erase(),
			Columns:       ingressClassColumns(),
			Row:           scheme.Rows(ingressClassRow),
		},
		{
			Group: group, Version: "v1", Kind: "Ingress",
			Plural: "ingresses", Singular: "ingress",
			ShortNames:    []string{"ing"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(networkingv1.Ingress) },
			NewList:       func() runtime.Object { return new(networkingv1.IngressList) },
			StoragePrefix: "ingress",
			Strategy:      ingressHooks.Erase(),
			Columns:       ingressColumns(),
			Row:           scheme.Rows(ingressRow),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: ingressStatusHooks.Pointer()},
			},
		},
		{
			Group: group, Version: "v1", Kind: "IPAddress",
			Plural: "ipaddresses", Singular: "ipaddress",
			ShortNames:    []string{"ip"},
			New:           func() runtime.Object { return new(networkingv1.IPAddress) },
			NewList:       func() runtime.Object { return new(networkingv1.IPAddressList) },
			StoragePrefix: "ipaddresses",
			Strategy:      ipAddressHooks.Erase(),
			Columns:       ipAddressColumns(),
			Row:           scheme.Rows(ipAddressRow),
			Stored:        []scheme.Version{version.WireEqual[networkingv1beta1.IPAddress, networkingv1beta1.IPAddressList, networkingv1.IPAddress](group, "v1beta1")},
		},
		{
			Group: group, Version: "v1", Kind: "NetworkPolicy",
			Plural: "networkpolicies", Singular: "networkpolicy",
			ShortNames:    []string{"netpol"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(networkingv1.NetworkPolicy) },
			NewList:       func() runtime.Object { return new(networkingv1.NetworkPolicyList) },
			StoragePrefix: "networkpolicies",
			Strategy:      networkPolicyHooks.Erase(),
			Columns:       networkPolicyColumns(),
			Row:           scheme.Rows(networkPolicyRow),
		},
		{
			Group: group, Version: "v1", Kind: "ServiceCIDR",
			Plural: "servicecidrs", Singular: "servicecidr",
			New:           func() runtime.Object { return new(networkingv1.ServiceCIDR) },
			NewList:       func() runtime.Object { return new(networkingv1.ServiceCIDRList) },
			StoragePrefix: "servicecidrs",
			Strategy:      serviceCIDRHooks.Erase(),
			Columns:       serviceCIDRColumns(),
			Row:           scheme.Rows(serviceCIDRRow),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: serviceCIDRStatusHooks.Pointer()},
			},
			Stored: []scheme.Version{version.WireEqual[networkingv1beta1.ServiceCIDR, networkingv1beta1.ServiceCIDRList, networkingv1.ServiceCIDR](group, "v1beta1")},
		},
	}
}
