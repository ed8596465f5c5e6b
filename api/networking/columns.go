package networking

import (
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/table"
)

func ingressClassColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("Controller", "Controller that is responsible for handling this class"),
		table.String("Parameters", "A reference to a resource with additional parameters"),
		table.Age(),
	}
}

func ingressClassRow(c *networkingv1.IngressClass, now metav1.Time) []any {
	parameters := "<none>"
	if p := c.Spec.Parameters; p != nil {
		parameters = p.Kind
		if p.APIGroup != nil {
			parameters += "." + *p.APIGroup
		}
		parameters += "/" + p.Name
	}
	return []any{c.Name, c.Spec.Controller, parameters, table.Since(c.CreationTimestamp, now)}
}

func ingressColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("Class", "The name of the IngressClass resource that should be used for additional configuration"),
		table.String("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
		table.String("Address", "Address is a list containing ingress points for the load-balancer"),
		table.String("Ports", "Ports of TLS configurations that open"),
		table.Age(),
	}
}

func ingressRow(i *networkingv1.Ingress, now metav1.Time) []any {
	class := "<none>"
	if i.Spec.IngressClassName != nil {
		class = *i.Spec.IngressClassName
	}
	ports := "80"
	if len(i.Spec.TLS) > 0 {
		ports = "80, 443"
	}
	return []any{i.Name, class, ingressHosts(i.Spec.Rules), ingressAddresses(&i.Status), ports, table.Since(i.CreationTimestamp, now)}
}

// ingressHosts shows three hosts; what is more counts rules, with or without
// a host of their own.
func ingressHosts(rules []networkingv1.IngressRule) string {
	const shown = 3
	var hosts []string
	for i := range rules {
		if len(hosts) == shown {
			return strings.Join(hosts, ",") + " + " + strconv.Itoa(len(rules)-shown) + " more..."
		}
		if h := rules[i].Host; h != "" {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 {
		return "*"
	}
	return strings.Join(hosts, ",")
}

func ingressAddresses(s *networkingv1.IngressStatus) string {
	var addresses []string
	for _, point := range s.LoadBalancer.Ingress {
		a := point.IP
		if a == "" {
			a = point.Hostname
		}
		if a != "" && !slices.Contains(addresses, a) {
			addresses = append(addresses, a)
		}
	}
	slices.Sort(addresses)
	return strings.Join(addresses, ",")
}

func networkPolicyColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("Pod-Selector", networkingv1.NetworkPolicySpec{}, "podSelector"),
		table.Age(),
	}
}

func networkPolicyRow(p *networkingv1.NetworkPolicy, now metav1.Time) []any {
	return []any{p.Name, table.Selector(&p.Spec.PodSelector), table.Since(p.CreationTimestamp, now)}
}

func serviceCIDRColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("CIDRs", table.Spelled(networkingv1.ServiceCIDRSpec{}.SwaggerDoc()["cidrs"], "CIDRs")),
		table.Age(),
	}
}

func serviceCIDRRow(c *networkingv1.ServiceCIDR, now metav1.Time) []any {
	return []any{c.Name, strings.Join(c.Spec.CIDRs, ","), table.Since(c.CreationTimestamp, now)}
}

func ipAddressColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("ParentRef", table.Spelled(networkingv1.IPAddressSpec{}.SwaggerDoc()["parentRef"], "ParentRef")),
	}
}

func ipAddressRow(a *networkingv1.IPAddress, _ metav1.Time) []any {
	return []any{a.Name, parentText(a.Spec.ParentRef)}
}

func parentText(p *networkingv1.ParentReference) string {
	if p == nil {
		return "<none>"
	}
	resource := p.Resource
	if p.Group != "" {
		resource += "." + p.Group
	}
	if p.Namespace != "" {
		return resource + "/" + p.Namespace + "/" + p.Name
	}
	return resource + "/" + p.Name
}
