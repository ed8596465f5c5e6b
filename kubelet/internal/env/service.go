package env

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The service that every pod is told of.
const (
	apiNamespace = "default"
	apiService   = "kubernetes"
)

// Services are the variables of the services that a pod in a namespace is
// told of, sorted by name: the API server's always, those of the namespace
// with links.
func Services(services []*corev1.Service, namespace string, links bool) []Variable {
	var api *corev1.Service
	var own []*corev1.Service
	for _, s := range services {
		if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone {
			continue
		}
		if s.Namespace == apiNamespace && s.Name == apiService {
			api = s
		}
		if links && s.Namespace == namespace {
			own = append(own, s)
		}
	}
	if api != nil && !slices.ContainsFunc(own, func(s *corev1.Service) bool { return s.Name == apiService }) {
		own = append(own, api)
	}
	slices.SortFunc(own, func(a, b *corev1.Service) int { return strings.Compare(a.Name, b.Name) })
	var out []Variable
	for _, s := range own {
		out = append(out, service(s)...)
	}
	return out
}

func service(s *corev1.Service) []Variable {
	if len(s.Spec.Ports) == 0 {
		return nil
	}
	name := word(s.Name)
	out := []Variable{
		{name + "_SERVICE_HOST", s.Spec.ClusterIP},
		{name + "_SERVICE_PORT", strconv.Itoa(int(s.Spec.Ports[0].Port))},
	}
	for i := range s.Spec.Ports {
		if p := &s.Spec.Ports[i]; p.Name != "" {
			out = append(out, Variable{name + "_SERVICE_PORT_" + word(p.Name), strconv.Itoa(int(p.Port))})
		}
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		protocol, port := string(corev1.ProtocolTCP), strconv.Itoa(int(p.Port))
		if p.Protocol != "" {
			protocol = string(p.Protocol)
		}
		url := strings.ToLower(protocol) + "://" + net.JoinHostPort(s.Spec.ClusterIP, port)
		if i == 0 {
			out = append(out, Variable{name + "_PORT", url})
		}
		prefix := fmt.Sprintf("%s_PORT_%s_%s", name, port, strings.ToUpper(protocol))
		out = append(out, Variable{prefix, url}, Variable{prefix + "_PROTO", strings.ToLower(protocol)},
			Variable{prefix + "_PORT", port}, Variable{prefix + "_ADDR", s.Spec.ClusterIP})
	}
	return out
}

func word(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }
