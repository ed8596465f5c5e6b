package runtime

import (
	"fmt"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits of resolv.conf, as Kubernetes applies them.
const (
	maxNameservers = 3
	maxSearches    = 32
	maxSearchList  = 2048
)

// DNSOptions are the node's.
type DNSOptions struct {
	ClusterDNS    []string
	ClusterDomain string
	// ResolvConf is the host's file; empty is none.
	ResolvConf string
}

// DNSWarning is something worth an event.
type DNSWarning struct{ Reason, Message string }

// PodDNS is the resolver configuration of a pod.
func PodDNS(pod *corev1.Pod, o DNSOptions) (*runtimeapi.DNSConfig, []DNSWarning, error) {
	host, err := hostDNS(o.ResolvConf)
	if err != nil {
		return nil, nil, err
	}
	var warnings []DNSWarning
	out := &runtimeapi.DNSConfig{}
	switch policy := pod.Spec.DNSPolicy; {
	case policy == corev1.DNSNone:
	case policy == corev1.DNSClusterFirstWithHostNet, policy == corev1.DNSClusterFirst && !pod.Spec.HostNetwork:
		if len(o.ClusterDNS) == 0 {
			warnings = append(warnings, DNSWarning{"MissingClusterDNS", fmt.Sprintf("pod: %q. kubelet does not have ClusterDNS IP configured and cannot create Pod using %q policy. Falling back to %q policy.", Describe(pod), policy, corev1.DNSDefault)})
			out = host
			break
		}
		out.Servers, out.Searches = slices.Clone(o.ClusterDNS), slices.Clone(host.Searches)
		out.Options = []string{"ndots:5"}
		if d := o.ClusterDomain; d != "" {
			out.Searches = unique(append([]string{pod.Namespace + ".svc." + d, "svc." + d, d}, host.Searches...))
		}
	default:
		out = host
	}
	if c := pod.Spec.DNSConfig; c != nil {
		appendDNS(out, c)
	}
	warnings = append(warnings, limitDNS(pod, out)...)
	return out, warnings, nil
}

func appendDNS(out *runtimeapi.DNSConfig, c *corev1.PodDNSConfig) {
	out.Servers = unique(append(out.Servers, c.Nameservers...))
	out.Searches = unique(append(out.Searches, c.Searches...))
	for _, o := range c.Options {
		out.Options = slices.DeleteFunc(out.Options, func(have string) bool {
			name, _, _ := strings.Cut(have, ":")
			return name == o.Name
		})
	}
	for _, o := range c.Options {
		text := o.Name
		if o.Value != nil && *o.Value != "" {
			text += ":" + *o.Value
		}
		out.Options = append(out.Options, text)
	}
}

func limitDNS(pod *corev1.Pod, d *runtimeapi.DNSConfig) []DNSWarning {
	var warnings []DNSWarning
	if len(d.Servers) > maxNameservers {
		d.Servers = d.Servers[:maxNameservers]
		warnings = append(warnings, DNSWarning{"DNSConfigForming", fmt.Sprintf("Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: %s", strings.Join(d.Servers, " "))})
	}
	cut := d.Searches
	if len(cut) > maxSearches {
		cut = cut[:maxSearches]
	}
	for len(strings.Join(cut, " ")) > maxSearchList {
		cut = cut[:len(cut)-1]
	}
	if len(cut) < len(d.Searches) {
		d.Searches = cut
		warnings = append(warnings, DNSWarning{"DNSConfigForming", fmt.Sprintf("Search Line limits were exceeded, some search paths have been omitted, the applied search line is: %s", strings.Join(cut, " "))})
	}
	return warnings
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func hostDNS(path string) (*runtimeapi.DNSConfig, error) {
	if path == "" {
		return &runtimeapi.DNSConfig{Servers: []string{"127.0.0.1"}, Searches: []string{"."}}, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("resolvConf: %w", err)
	}
	return parseResolvConf(string(raw)), nil
}

func parseResolvConf(text string) *runtimeapi.DNSConfig {
	out := &runtimeapi.DNSConfig{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line, _, _ = strings.Cut(line, ";")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if len(f) > 1 {
				out.Servers = append(out.Servers, f[1])
			}
		case "search": // the last one holds
			out.Searches = nil
			for _, s := range f[1:] {
				if s != "." {
					s = strings.TrimSuffix(s, ".")
				}
				out.Searches = append(out.Searches, s)
			}
		case "options":
			out.Options = append(out.Options, f[1:]...)
		}
	}
	return out
}

// HostsFile is /etc/hosts of a pod. host is the node's own, for pods on its
// network.
func HostsFile(pod *corev1.Pod, ips []string, clusterDomain string, host []byte) ([]byte, error) {
	var b strings.Builder
	if pod.Spec.HostNetwork {
		b.WriteString("# Kubernetes-managed hosts file (host network).\n")
		b.Write(host)
	} else {
		b.WriteString("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
		name, domain, err := Hostname(pod, clusterDomain)
		if err != nil {
			return nil, err
		}
		short, _, _ := strings.Cut(name, ".")
		for _, ip := range ips {
			if domain != "" {
				fmt.Fprintf(&b, "%s\t%s.%s\t%s\n", ip, short, domain, short)
			} else {
				fmt.Fprintf(&b, "%s\t%s\n", ip, name)
			}
		}
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, a := range pod.Spec.HostAliases {
			fmt.Fprintf(&b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
		}
	}
	return []byte(b.String()), nil
}
