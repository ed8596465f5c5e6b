// Package endpointslicemirroring copies Endpoints that people or programs keep
// by hand into EndpointSlices.
package endpointslicemirroring

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/endpointslice"
)

// ManagedBy is the value of the label of this controller's slices.
const ManagedBy = "endpointslicemirroring-controller.k8s.io"

// leader is an annotation of Endpoints that served for leader election.
const leader = "control-plane.alpha.kubernetes.io/leader"

// mirrored reports whether an object is to be copied.
func mirrored(e *corev1.Endpoints) bool {
	if e == nil || e.DeletionTimestamp != nil || e.Labels[discoveryv1.LabelSkipMirror] == "true" {
		return false
	}
	_, election := e.Annotations[leader]
	return !election
}

// plan copies an object into slices; e is nil when nothing is to be mirrored.
// It gives the number of addresses that were too many.
func plan(e *corev1.Endpoints, have []*discoveryv1.EndpointSlice, most int) (endpointslice.Plan, int) {
	d := endpointslice.Desired{Most: most}
	if e == nil {
		return endpointslice.Reconcile(d, have), 0
	}
	byFamily := map[discoveryv1.AddressType]endpointslice.Groups{}
	skipped := 0
	for i := range e.Subsets {
		skipped += add(byFamily, &e.Subsets[i], most)
	}
	d.Families = []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}
	d.Groups = func(f discoveryv1.AddressType) endpointslice.Groups { return byFamily[f] }
	d.Owner = *metav1.NewControllerRef(e, corev1.SchemeGroupVersion.WithKind("Endpoints"))
	d.Namespace, d.Prefix = e.Namespace, e.Name+"-"
	d.Labels = map[string]string{}
	for k, v := range e.Labels {
		d.Labels[k] = v
	}
	d.Labels[discoveryv1.LabelServiceName], d.Labels[discoveryv1.LabelManagedBy] = e.Name, ManagedBy
	d.Annotations = map[string]string{}
	for k, v := range e.Annotations {
		if k != corev1.LastAppliedConfigAnnotation && k != corev1.EndpointsLastChangeTriggerTime {
			d.Annotations[k] = v
		}
	}
	return endpointslice.Reconcile(d, have), skipped
}

func add(to map[discoveryv1.AddressType]endpointslice.Groups, s *corev1.EndpointSubset, most int) (skipped int) {
	var ports []discoveryv1.EndpointPort
	for i := range s.Ports {
		p := s.Ports[i]
		ports = append(ports, discoveryv1.EndpointPort{Name: &p.Name, Port: &p.Port, Protocol: &p.Protocol, AppProtocol: p.AppProtocol})
	}
	n := 0
	for _, l := range []struct {
		addresses []corev1.EndpointAddress
		ready     bool
	}{{s.Addresses, true}, {s.NotReadyAddresses, false}} {
		for i := range l.addresses {
			if n++; n > most {
				skipped++
				continue
			}
			a := &l.addresses[i]
			ip, err := netip.ParseAddr(a.IP)
			if err != nil {
				continue // validation does not let it in
			}
			family := discoveryv1.AddressTypeIPv4
			if ip.Is6() {
				family = discoveryv1.AddressTypeIPv6
			}
			if to[family] == nil {
				to[family] = endpointslice.Groups{}
			}
			ready := l.ready
			e := discoveryv1.Endpoint{Addresses: []string{a.IP}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, NodeName: a.NodeName, TargetRef: a.TargetRef}
			if a.Hostname != "" {
				host := a.Hostname
				e.Hostname = &host
			}
			to[family].Add(ports, e)
		}
	}
	return skipped
}
