package state

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Scheme is the part of the table of resources that is read or written here. The whole
// one, or package core's, would link every kind with its validation, and what
// is linked is resident too: a third of the process.
func Scheme() *scheme.Scheme {
	return scheme.New([]scheme.Resource{
		{Version: "v1", Kind: "Service", Plural: "services", Singular: "service", Namespaced: true, New: func() runtime.Object { return new(corev1.Service) }},
		{Version: "v1", Kind: "Node", Plural: "nodes", Singular: "node", New: func() runtime.Object { return new(corev1.Node) }},
		{Version: "v1", Kind: "Pod", Plural: "pods", Singular: "pod", Namespaced: true, New: func() runtime.Object { return new(corev1.Pod) }},
		{Version: "v1", Kind: "Event", Plural: "events", Singular: "event", Namespaced: true, New: func() runtime.Object { return new(corev1.Event) }},
		{
			Group: discoveryv1.GroupName, Version: "v1", Kind: "EndpointSlice", Plural: "endpointslices", Singular: "endpointslice", Namespaced: true,
			New: func() runtime.Object { return newSlice() },
		},
	})
}
