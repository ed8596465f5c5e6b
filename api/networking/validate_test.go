package networking

import (
	"testing"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func resource(plural string) scheme.Resource {
	r, _ := scheme.New(Resources()).Resource(group, plural)
	return *r
}

func TestIngress(t *testing.T) {
	observedtest.Attempts(t, resource("ingresses"), `{"spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}}}}`, []observedtest.Attempt{
		{Name: "class annotation differs", Patch: `{"metadata":{"annotations":{"kubernetes.io/ingress.class":"a"}},"spec":{"ingressClassName":"b"}}`,
			Want: []string{"annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified"}},
		{Name: "class annotation equal", Patch: `{"metadata":{"annotations":{"kubernetes.io/ingress.class":"a"}},"spec":{"ingressClassName":"a"}}`,
			Warnings: []string{`annotation "kubernetes.io/ingress.class" is deprecated, please use 'spec.ingressClassName' instead`}},
		{Name: "path ends with a dot", Patch: `{"spec":{"rules":[{"http":{"paths":[{"path":"/a/..","pathType":"Exact","backend":{"service":{"name":"s","port":{"name":"a","number":1}}}}]}}]}}`,
			Want: []string{
				`spec.rules[0].http.paths[0].path: Invalid value: "/a/..": cannot end with '/..'`,
				`spec.rules[0].http.paths[0].backend: Invalid value: "": cannot set both port name & port number`,
			}},
		{Name: "secret name", Patch: `{"spec":{"tls":[{"secretName":"a.b"}]}}`},
		{Name: "status address stays", Old: `{}`, Subresource: "status", Patch: `{"status":{"loadBalancer":{"ingress":[{"ip":"::ffff:1.2.3.4"}]}}}`,
			Want: []string{`status.loadBalancer.ingress[0].ip: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address`}},
		{Name: "status form", Old: `{}`, Subresource: "status", Patch: `{"status":{"loadBalancer":{"ingress":[{"ip":"FD00::1"}]}}}`,
			Warnings: []string{`status.loadBalancer.ingress[0].ip: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")`}},
	})
}

func TestNetworkPolicy(t *testing.T) {
	observedtest.Attempts(t, resource("networkpolicies"), `{"spec":{"podSelector":{}}}`, []observedtest.Attempt{
		{Name: "canonical form", Patch: `{"spec":{"ingress":[{"from":[{"ipBlock":{"cidr":"FD00::/8","except":["fd00:0::/16"]}}]}]}}`,
			Warnings: []string{
				`spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value "FD00::/8" should be in RFC 5952 canonical format ("fd00::/8")`,
				`spec.ingress[0].from[0].ipBlock.except[0]: IPv6 CIDR value "fd00:0::/16" should be in RFC 5952 canonical format ("fd00::/16")`,
			}},
		{Name: "update of types", Old: `{}`, Patch: `{"spec":{"policyTypes":["A"]}}`,
			Want: []string{`spec.policyTypes[0]: Unsupported value: "A": supported values: "Ingress", "Egress"`}},
	})
}

func TestServiceCIDR(t *testing.T) {
	observedtest.Attempts(t, resource("servicecidrs"), `{"spec":{"cidrs":["10.0.0.0/24"]}}`, []observedtest.Attempt{
		{Name: "one family twice", Patch: `{"spec":{"cidrs":["10.0.0.0/24","10.1.0.0/24"]}}`,
			Want: []string{`spec.cidrs: Invalid value: {"CIDRs":["10.0.0.0/24","10.1.0.0/24"]}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64`}},
		{Name: "shrinks", Old: `{"spec":{"cidrs":["10.0.0.0/24","fd00::/112"]}}`, Patch: `{"spec":{"cidrs":["10.0.0.0/24"]}}`,
			Want: []string{`spec.cidrs: Invalid value: ["10.0.0.0/24"]: field is immutable`}},
		{Name: "grows and changes", Old: `{}`, Patch: `{"spec":{"cidrs":["10.1.0.0/24","fd00::/112"]}}`,
			Want: []string{`spec.cidrs[0]: Invalid value: "10.1.0.0/24": field is immutable`}},
	})
}

func TestIPAddress(t *testing.T) {
	observedtest.Attempts(t, resource("ipaddresses"), `{"metadata":{"name":"10.0.0.1"},"spec":{"parentRef":{"resource":"services","namespace":"a","name":"b"}}}`, []observedtest.Attempt{
		{Name: "parent changes", Old: `{}`, Patch: `{"spec":{"parentRef":{"name":"c"}}}`,
			Want: []string{`spec.parentRef: Invalid value: {"Group":"","Resource":"services","Namespace":"a","Name":"c"}: field is immutable`}},
	})
}

func TestIngressClass(t *testing.T) {
	observedtest.Attempts(t, resource("ingressclasses"), `{"spec":{"controller":"a.b/c"}}`, []observedtest.Attempt{
		{Name: "scope", Patch: `{"spec":{"parameters":{"kind":"K","name":"n","scope":"World"}}}`,
			Want: []string{`spec.parameters.scope: Unsupported value: "World": supported values: "Cluster", "Namespace"`}},
	})
}
