// Package servicecidr keeps ranges of service addresses from being deleted
// while addresses of theirs are in use.
package servicecidr

import (
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// finalizer that holds a range.
const finalizer = "networking.k8s.io/service-cidr-finalizer"

const (
	readyMessage       = "Kubernetes Service CIDR is ready"
	terminatingMessage = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
)

// Plan is what to do about one range.
type Plan struct {
	AddFinalizer, RemoveFinalizer bool
	// Condition is what the status should say; nil is what it says.
	Condition *metav1.Condition
}

func (p Plan) String() string {
	out := ""
	if p.AddFinalizer {
		out += "add finalizer\n"
	}
	if p.RemoveFinalizer {
		out += "remove finalizer\n"
	}
	if c := p.Condition; c != nil {
		out += "condition " + c.Type + " " + string(c.Status) + " " + c.Reason + "\n"
	}
	return out
}

// plan looks at a range, all ranges and all addresses in use.
func plan(c *networkingv1.ServiceCIDR, all []*networkingv1.ServiceCIDR, used []netip.Addr) Plan {
	held := slices.Contains(c.Finalizers, finalizer)
	if c.DeletionTimestamp == nil {
		p := Plan{AddFinalizer: !held}
		p.Condition = differs(c, metav1.ConditionTrue, "", readyMessage)
		return p
	}
	if !held {
		return Plan{}
	}
	if !needed(c, all, used) {
		return Plan{RemoveFinalizer: true}
	}
	return Plan{Condition: differs(c, metav1.ConditionFalse, networkingv1.ServiceCIDRReasonTerminating, terminatingMessage)}
}

func differs(c *networkingv1.ServiceCIDR, status metav1.ConditionStatus, reason, message string) *metav1.Condition {
	for _, have := range c.Status.Conditions {
		if have.Type == networkingv1.ServiceCIDRConditionReady && have.Status == status && have.Reason == reason {
			return nil
		}
	}
	return &metav1.Condition{Type: networkingv1.ServiceCIDRConditionReady, Status: status, Reason: reason, Message: message}
}

// needed reports whether an address in use is in no other range.
func needed(c *networkingv1.ServiceCIDR, all []*networkingv1.ServiceCIDR, used []netip.Addr) bool {
	own, others := prefixes(c), []netip.Prefix{}
	for _, o := range all {
		if o.Name != c.Name && o.DeletionTimestamp == nil {
			others = append(others, prefixes(o)...)
		}
	}
	in := func(l []netip.Prefix, a netip.Addr) bool {
		return slices.ContainsFunc(l, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return slices.ContainsFunc(used, func(a netip.Addr) bool { return in(own, a) && !in(others, a) })
}

func prefixes(c *networkingv1.ServiceCIDR) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range c.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}
