// Package endpoints keeps the Endpoints of services with selectors: the older
// form of EndpointSlices, for those who still read it.
package endpoints

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/endpointslice"
	"xebec.dev/controller-manager/internal/pod"
)

const (
	// most addresses of an object; more are cut off, and the object says so.
	most      = 1000
	managedBy = "endpoints.kubernetes.io/managed-by"
	manager   = "endpoint-controller"
	truncated = "truncated"
)

// Plan is what to do about a service's object; one of the fields at most is
// set.
type Plan struct{ Create, Update *corev1.Endpoints }

func (p Plan) String() string {
	verb, e := "create", p.Create
	if p.Update != nil {
		verb, e = "update", p.Update
	}
	if e == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", verb, e.Name)
	if v := e.Annotations[corev1.EndpointsOverCapacity]; v != "" {
		fmt.Fprintf(&b, " over-capacity=%s", v)
	}
	b.WriteString("\n")
	for i := range e.Subsets {
		s := &e.Subsets[i]
		fmt.Fprintf(&b, "subset%s", join(" ready=", s.Addresses)+join(" unready=", s.NotReadyAddresses))
		for _, p := range s.Ports {
			fmt.Fprintf(&b, " %s:%d/%s", p.Name, p.Port, p.Protocol)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func join(label string, addresses []corev1.EndpointAddress) string {
	if len(addresses) == 0 {
		return ""
	}
	var ips []string
	for i := range addresses {
		ip := addresses[i].IP
		if addresses[i].Hostname != "" {
			ip += "(" + addresses[i].Hostname + ")"
		}
		ips = append(ips, ip)
	}
	return label + strings.Join(ips, ",")
}

func plan(svc *corev1.Service, pods []*corev1.Pod, have *corev1.Endpoints, trigger time.Time) Plan {
	e := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name}}
	if have != nil {
		e = have.DeepCopy()
	}
	e.Subsets = subsets(svc, pods)
	e.Labels = maps.Clone(svc.Labels)
	if e.Labels == nil {
		e.Labels = map[string]string{}
	}
	delete(e.Labels, corev1.IsHeadlessService)
	if svc.Spec.ClusterIP == corev1.ClusterIPNone {
		e.Labels[corev1.IsHeadlessService] = ""
	}
	e.Labels[managedBy] = manager
	if e.Annotations == nil {
		e.Annotations = map[string]string{}
	}
	delete(e.Annotations, corev1.EndpointsOverCapacity)
	if cut(e.Subsets) {
		e.Annotations[corev1.EndpointsOverCapacity] = truncated
	}
	if have != nil && apiequality.Semantic.DeepEqual(have.Subsets, e.Subsets) && apiequality.Semantic.DeepEqual(have.Labels, e.Labels) &&
		have.Annotations[corev1.EndpointsOverCapacity] == e.Annotations[corev1.EndpointsOverCapacity] {
		return Plan{}
	}
	delete(e.Annotations, corev1.EndpointsLastChangeTriggerTime)
	if !trigger.IsZero() {
		e.Annotations[corev1.EndpointsLastChangeTriggerTime] = trigger.UTC().Format(time.RFC3339Nano)
	}
	if have == nil {
		return Plan{Create: e}
	}
	return Plan{Update: e}
}

// subsets groups addresses by the ports they have. Each port of a service is
// resolved at each pod; pods whose ports are alike share a subset.
func subsets(svc *corev1.Service, pods []*corev1.Pod) []corev1.EndpointSubset {
	byPorts := map[string]*corev1.EndpointSubset{}
	for _, p := range pods {
		ip := endpointslice.Address(p, endpointslice.Families(svc)[0])
		if pod.Finished(p) || ip == "" || p.DeletionTimestamp != nil && !svc.Spec.PublishNotReadyAddresses {
			continue
		}
		ports := ports(svc, p)
		if len(ports) == 0 && !(len(svc.Spec.Ports) == 0 && svc.Spec.ClusterIP == corev1.ClusterIPNone) {
			continue
		}
		a := corev1.EndpointAddress{IP: ip, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID}}
		if p.Spec.NodeName != "" {
			name := p.Spec.NodeName
			a.NodeName = &name
		}
		if endpointslice.Hostname(p, svc) {
			a.Hostname = p.Spec.Hostname
		}
		key := fmt.Sprint(ports)
		s := byPorts[key]
		if s == nil {
			s = &corev1.EndpointSubset{Ports: ports}
			byPorts[key] = s
		}
		switch {
		case svc.Spec.PublishNotReadyAddresses || pod.Ready(p):
			s.Addresses = append(s.Addresses, a)
		case p.Spec.RestartPolicy == corev1.RestartPolicyNever && p.Status.Phase == corev1.PodFailed:
		default:
			s.NotReadyAddresses = append(s.NotReadyAddresses, a)
		}
	}
	var out []corev1.EndpointSubset
	for _, key := range slices.Sorted(maps.Keys(byPorts)) {
		s := byPorts[key]
		for _, l := range [][]corev1.EndpointAddress{s.Addresses, s.NotReadyAddresses} {
			slices.SortFunc(l, func(a, b corev1.EndpointAddress) int {
				return cmp.Or(cmp.Compare(a.IP, b.IP), cmp.Compare(a.TargetRef.UID, b.TargetRef.UID))
			})
		}
		out = append(out, *s)
	}
	return out
}

func ports(svc *corev1.Service, p *corev1.Pod) []corev1.EndpointPort {
	var out []corev1.EndpointPort
	for i := range svc.Spec.Ports {
		sp := &svc.Spec.Ports[i]
		if n, ok := endpointslice.FindPort(p, sp); ok {
			out = append(out, corev1.EndpointPort{Name: sp.Name, Port: n, Protocol: sp.Protocol, AppProtocol: sp.AppProtocol})
		}
	}
	slices.SortFunc(out, func(a, b corev1.EndpointPort) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out
}

// cut keeps as many addresses as an object may have, the ready ones first, and
// reports whether that were not all.
func cut(subsets []corev1.EndpointSubset) bool {
	left, over := most, false
	take := func(l *[]corev1.EndpointAddress) {
		if len(*l) > left {
			*l, over = (*l)[:left], true
		}
		left -= len(*l)
	}
	for i := range subsets {
		take(&subsets[i].Addresses)
	}
	for i := range subsets {
		take(&subsets[i].NotReadyAddresses)
	}
	return over
}
