// Package networking has the resources of the API group networking.k8s.io: names, defaults, validation,
// columns and update rules.
package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: "networking.k8s.io", Version: "v1", Kind: "IngressClass",
			Plural: "ingressclasses", Singular: "ingressclass",
			New:           func() runtime.Object { return new(networkingv1.IngressClass) },
			NewList:       func() runtime.Object { return new(networkingv1.IngressClassList) },
			StoragePrefix: "ingressclasses",
		},
		{
			Group: "networking.k8s.io", Version: "v1", Kind: "Ingress",
			Plural: "ingresses", Singular: "ingress",
			ShortNames:    []string{"ing"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(networkingv1.Ingress) },
			NewList:       func() runtime.Object { return new(networkingv1.IngressList) },
			StoragePrefix: "ingress",
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}},
			},
		},
		{
			Group: "networking.k8s.io", Version: "v1", Kind: "IPAddress",
			Plural: "ipaddresses", Singular: "ipaddress",
			ShortNames:    []string{"ip"},
			New:           func() runtime.Object { return new(networkingv1.IPAddress) },
			NewList:       func() runtime.Object { return new(networkingv1.IPAddressList) },
			StoragePrefix: "ipaddresses",
		},
		{
			Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy",
			Plural: "networkpolicies", Singular: "networkpolicy",
			ShortNames:    []string{"netpol"},
			Namespaced:    true,
			New:           func() runtime.Object { return new(networkingv1.NetworkPolicy) },
			NewList:       func() runtime.Object { return new(networkingv1.NetworkPolicyList) },
			StoragePrefix: "networkpolicies",
		},
		{
			Group: "networking.k8s.io", Version: "v1", Kind: "ServiceCIDR",
			Plural: "servicecidrs", Singular: "servicecidr",
			New:           func() runtime.Object { return new(networkingv1.ServiceCIDR) },
			NewList:       func() runtime.Object { return new(networkingv1.ServiceCIDRList) },
			StoragePrefix: "servicecidrs",
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}},
			},
		},
	}
}
