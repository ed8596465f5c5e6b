package discovery

import (
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/table"
)

func endpointSliceColumns() []metav1.TableColumnDefinition {
	of := discoveryv1.EndpointSlice{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Field("AddressType", of, "addressType"),
		table.Field("Ports", of, "ports"),
		table.Field("Endpoints", of, "endpoints"),
		table.Age(),
	}
}

func endpointSliceRow(s *discoveryv1.EndpointSlice, now metav1.Time) []any {
	return []any{s.Name, string(s.AddressType), portsText(s.Ports), endpointsText(s.Endpoints), table.Since(s.CreationTimestamp, now)}
}

// portsText shows three ports by number, else by name, else as "*".
func portsText(ports []discoveryv1.EndpointPort) string {
	if len(ports) == 0 {
		return "<unset>"
	}
	var all []string
	for i := range ports {
		switch p := &ports[i]; {
		case p.Port != nil:
			all = append(all, strconv.Itoa(int(*p.Port)))
		case p.Name != nil && *p.Name != "":
			all = append(all, *p.Name)
		default:
			all = append(all, "*")
		}
	}
	return table.Join(all, 3)
}

func endpointsText(endpoints []discoveryv1.Endpoint) string {
	if len(endpoints) == 0 {
		return "<unset>"
	}
	var all []string
	for i := range endpoints {
		all = append(all, endpoints[i].Addresses...)
	}
	return table.Join(all, 3)
}
