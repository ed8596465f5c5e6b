// Package kubelet makes the configuration that a node's kubelet starts with:
// the KubeletConfiguration all nodes share, what is this node's own, and the
// flags kubeadm keeps in kubeadm-flags.env.
package kubelet

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"sigs.k8s.io/yaml"

	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
)

// Options of a machine.
type Options struct {
	Root layout.Root
	// Systemd says that systemd runs the machine and its cgroups.
	Systemd bool
	// ResolvConf replaces /etc/resolv.conf where that names a resolver of the
	// machine's own, which pods can't reach.
	ResolvConf string
	// CgroupRoot keeps apart the pods of nodes that share a machine.
	CgroupRoot string
}

// DNSAddress is the tenth address of the Service network.
func DNSAddress(serviceSubnet string) (string, error) {
	first, _, _ := strings.Cut(serviceSubnet, ",")
	p, err := netip.ParsePrefix(strings.TrimSpace(first))
	if err != nil {
		return "", fmt.Errorf("networking.serviceSubnet: %w", err)
	}
	a := p.Masked().Addr()
	for range 10 {
		a = a.Next()
	}
	if !p.Contains(a) {
		return "", fmt.Errorf("networking.serviceSubnet: %s has no tenth address for cluster DNS", p)
	}
	return a.String(), nil
}

// Shared is the configuration of every node: kubeadm's, with what the user
// gave laid over it.
func Shared(c *kubeadm.ClusterConfiguration, systemd bool, given map[string]any) (map[string]any, error) {
	dns, err := DNSAddress(c.Networking.ServiceSubnet)
	if err != nil {
		return nil, err
	}
	driver := "cgroupfs"
	if systemd {
		driver = "systemd"
	}
	base := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true},
			"x509":      map[string]any{"clientCAFile": c.CertificatesDir + "/ca.crt"},
		},
		"authorization":      map[string]any{"mode": "Webhook"},
		"cgroupDriver":       driver,
		"clusterDNS":         []any{dns},
		"clusterDomain":      c.Networking.DNSDomain,
		"healthzBindAddress": "127.0.0.1",
		"healthzPort":        float64(10248),
		"rotateCertificates": true,
		"staticPodPath":      layout.Manifests,
	}
	return overlay(base, given), nil
}

// Local is the shared configuration with what is this machine's own.
func Local(shared map[string]any, o Options) map[string]any {
	own := map[string]any{}
	if o.ResolvConf != "" {
		own["resolvConf"] = o.ResolvConf
	}
	if o.CgroupRoot != "" {
		own["cgroupRoot"] = o.CgroupRoot
	}
	if o.Root.Own() {
		if p, ok := shared["staticPodPath"].(string); ok {
			own["staticPodPath"] = o.Root.Path(p)
		}
		own["podLogsDir"] = o.Root.Path(layout.PodLogs)
		own["volumePluginDir"] = o.Root.Path("/usr/libexec/kubernetes/kubelet-plugins/volume/exec")
		if ca, ok := lookup(shared, "authentication", "x509", "clientCAFile").(string); ok {
			own["authentication"] = map[string]any{"x509": map[string]any{"clientCAFile": o.Root.Path(ca)}}
		}
	}
	return overlay(shared, own)
}

func lookup(m map[string]any, path ...string) any {
	var v any = m
	for _, p := range path {
		next, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = next[p]
	}
	return v
}

// overlay lays maps over maps; everything else is replaced.
func overlay(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	for k, v := range over {
		if m, ok := v.(map[string]any); ok {
			if b, ok := out[k].(map[string]any); ok {
				out[k] = overlay(b, m)
				continue
			}
		}
		out[k] = v
	}
	return out
}

// WithRuntime is a configuration with the address of this node's runtime.
func WithRuntime(config map[string]any, criSocket string) map[string]any {
	return overlay(config, map[string]any{"containerRuntimeEndpoint": criSocket})
}

// Marshal is the configuration's text.
func Marshal(config map[string]any) ([]byte, error) { return yaml.Marshal(config) }

// Instance is the text of instance-config.yaml: where this node's runtime is.
func Instance(criSocket string) []byte {
	return fmt.Appendf(nil, "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncontainerRuntimeEndpoint: %s\n", criSocket)
}

// InstanceSocket is the runtime's address in what Instance made; empty when it
// has none.
func InstanceSocket(raw []byte) string {
	var c struct {
		Endpoint string `json:"containerRuntimeEndpoint"`
	}
	if yaml.Unmarshal(raw, &c) != nil {
		return ""
	}
	return c.Endpoint
}

// Flags are the arguments of kubeadm-flags.env.
func Flags(n *kubeadm.NodeRegistration, hostname string, o Options) []kubeadm.Arg {
	var args []kubeadm.Arg
	if n.Name != strings.ToLower(hostname) {
		args = append(args, kubeadm.Arg{Name: "hostname-override", Value: n.Name})
	}
	if len(n.Taints) > 0 {
		list := make([]string, len(n.Taints))
		for i, t := range n.Taints {
			list[i] = t.Key + "=" + t.Value + ":" + string(t.Effect)
		}
		args = append(args, kubeadm.Arg{Name: "register-with-taints", Value: strings.Join(list, ",")})
	}
	if o.Root.Own() {
		args = append(args,
			kubeadm.Arg{Name: "root-dir", Value: o.Root.Path(layout.Kubelet)},
			kubeadm.Arg{Name: "cert-dir", Value: o.Root.Path(layout.KubeletPKI)})
	}
	given := map[string]bool{}
	for _, a := range n.KubeletExtraArgs {
		given[a.Name] = true
	}
	out := make([]kubeadm.Arg, 0, len(args)+len(n.KubeletExtraArgs))
	for _, a := range args {
		if !given[a.Name] {
			out = append(out, a)
		}
	}
	return append(out, n.KubeletExtraArgs...)
}

// Env is the text of kubeadm-flags.env.
func Env(args []kubeadm.Arg) []byte {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = "--" + a.Name + "=" + a.Value
	}
	return fmt.Appendf(nil, "KUBELET_KUBEADM_ARGS=%q\n", strings.Join(words, " "))
}

// ParseEnv gives back the words of an env file's variable.
func ParseEnv(raw []byte, name string) []string {
	for line := range strings.Lines(string(raw)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && key == name {
			return strings.Fields(strings.Trim(value, `"'`))
		}
	}
	return nil
}
