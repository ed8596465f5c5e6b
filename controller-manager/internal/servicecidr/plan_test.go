package servicecidr

import (
	"net/netip"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	cidr := func(name, text string, deleted, held bool) *networkingv1.ServiceCIDR {
		c := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{text}}}
		if deleted {
			now := metav1.Now()
			c.DeletionTimestamp = &now
		}
		if held {
			c.Finalizers = []string{finalizer}
		}
		return c
	}
	used := []netip.Addr{netip.MustParseAddr("10.0.0.5")}
	for _, c := range []struct {
		name   string
		c      *networkingv1.ServiceCIDR
		others []*networkingv1.ServiceCIDR
		used   []netip.Addr
		want   string
	}{
		{"new", cidr("a", "10.0.0.0/24", false, false), nil, nil, "add finalizer condition Ready True"},
		{"in use", cidr("a", "10.0.0.0/24", true, true), nil, used, "condition Ready False Terminating"},
		{"not in use", cidr("a", "10.0.0.0/24", true, true), nil, nil, "remove finalizer"},
		{"others' addresses", cidr("a", "10.0.1.0/24", true, true), nil, used, "remove finalizer"},
		{"another range has them too", cidr("a", "10.0.0.0/24", true, true), []*networkingv1.ServiceCIDR{cidr("b", "10.0.0.0/16", false, true)}, used, "remove finalizer"},
		{"which goes as well", cidr("a", "10.0.0.0/24", true, true), []*networkingv1.ServiceCIDR{cidr("b", "10.0.0.0/16", true, true)}, used, "condition Ready False Terminating"},
		{"let go", cidr("a", "10.0.0.0/24", true, false), nil, used, ""},
	} {
		got := strings.Join(strings.Fields(plan(c.c, append(c.others, c.c), c.used).String()), " ")
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
