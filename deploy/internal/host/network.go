package host

import (
	"fmt"

	"xebec.dev/deploy/internal/layout"
)

// Where the pod network's configuration comes from: the runtime fills the
// template in with the node's own range of addresses, as soon as the kubelet
// tells it, and writes the result among other configurations. It does so only
// where there is none: a network that somebody installs goes before.
const (
	NetworkTemplate = "/etc/xebec/cni.template"
	NetworkConf     = layout.CNIConf + "/10-containerd-net.conflist"
)

// Network is the template of the default pod network: our plugin, one exec a
// pod. Masquerade, routes and host ports are kube-proxy's.
func Network(root layout.Root) []byte {
	return fmt.Appendf(nil, `{
  "cniVersion": "1.1.0",
  "name": "xebec",
  "plugins": [
    {"type": "xebec-bridge", "bridge": "cni0", "stateDir": %q,
     "podCIDRs": [{{range $i, $r := .PodCIDRRanges}}{{if $i}}, {{end}}"{{$r}}"{{end}}]}
  ]
}
`, root.Path(State+"/cni"))
}

// ReferenceNetwork is the template of a pod network by the CNI project's
// plugins.
func ReferenceNetwork(root layout.Root) []byte {
	return fmt.Appendf(nil, `{
  "cniVersion": "1.0.0",
  "name": "reference",
  "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
     "ipam": {"type": "host-local", "dataDir": %q,
              "ranges": [{{range $i, $r := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$r}}"}]{{end}}],
              "routes": [{{range $i, $r := .Routes}}{{if $i}}, {{end}}{"dst": "{{$r}}"}{{end}}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, root.Path(State+"/cni"))
}
