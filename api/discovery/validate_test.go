package discovery

import (
	"fmt"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/observedtest"
)

func TestEndpointSlice(t *testing.T) {
	observedtest.Attempts(t, Resources()[0], `{"addressType":"IPv4"}`, []observedtest.Attempt{
		{Name: "no address", Patch: `{"endpoints":[{"addresses":[]}]}`,
			Want: []string{"endpoints[0].addresses: Required value: must contain at least 1 address"}},
		{Name: "other family", Patch: `{"endpoints":[{"addresses":["fd00::1"]}]}`,
			Want: []string{`endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address`}},
		{Name: "link-local", Patch: `{"addressType":"IPv6","endpoints":[{"addresses":["fe80::1"]}]}`,
			Want: []string{`endpoints[0].addresses[0]: Invalid value: "fe80::1": may not be in the link-local range (169.254.0.0/16, fe80::/10)`}},
		{Name: "node name", Patch: `{"endpoints":[{"addresses":["1.2.3.4"],"nodeName":"a"}]}`},
		{Name: "new address in an update", Old: `{"endpoints":[{"addresses":["1.2.3.4"]}]}`, Patch: `{"endpoints":[{"addresses":["1.2.3.4"]},{"addresses":["127.0.0.1"]}]}`,
			Want: []string{`endpoints[1].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`}},
	})
}

func TestTooManyEndpoints(t *testing.T) {
	s := slice(1001)
	errs := validateEndpointSlice(s, nil)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "endpoints: Too many: 1001: must have at most 1000 items") {
		t.Error(errs)
	}
}

func TestDropTopology(t *testing.T) {
	host := func(node *string, name string) discoveryv1.EndpointSlice {
		return discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{"1.2.3.4"}, NodeName: node, DeprecatedTopology: map[string]string{"kubernetes.io/hostname": name, "a": "b"}}}}
	}
	old := host(nil, "n")
	same := host(nil, "n")
	dropTopology(&same, &old)
	if len(same.Endpoints[0].DeprecatedTopology) != 2 {
		t.Error("unchanged endpoints lost their topology")
	}
	grown := host(nil, "n")
	grown.Endpoints[0].Addresses = []string{"1.2.3.5"}
	dropTopology(&grown, &old)
	if got := fmt.Sprint(grown.Endpoints[0].DeprecatedTopology); got != "map[kubernetes.io/hostname:n]" {
		t.Error(got)
	}
	other := host(nil, "m")
	dropTopology(&other, &old)
	if other.Endpoints[0].DeprecatedTopology != nil {
		t.Error("a new host name was kept")
	}
}

func TestRow(t *testing.T) {
	port, name := int32(80), "http"
	s := slice(4)
	s.Ports = []discoveryv1.EndpointPort{{Port: &port}, {Name: &name}, {}}
	got := fmt.Sprint(endpointSliceRow(s, metav1.Time{}))
	if want := "[e IPv4 80,http,* 10.0.0.0,10.0.0.1,10.0.0.2 + 1 more... <unknown>]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func BenchmarkValidate(b *testing.B) {
	s := slice(1000)
	for b.Loop() {
		if errs := validateEndpointSlice(s, nil); len(errs) > 0 {
			b.Fatal(errs)
		}
		warnAddresses(s)
	}
}

func slice(n int) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "e"}, AddressType: discoveryv1.AddressTypeIPv4}
	for i := range n {
		node := fmt.Sprintf("node-%d", i)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.0.%d.%d", i/256, i%256)}, NodeName: &node})
	}
	return s
}
