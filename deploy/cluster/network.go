package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/client"
	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/layout"
)

// referenceConf is the file of the pod network by the reference plugins.
const referenceConf = "10-reference.conflist"

// network configures the reference plugins on nodes that have no pod network
// of their own, once their range of addresses is known.
func (c *Cluster) network(ctx context.Context, api *client.Client) error {
	if !c.Reference {
		return nil
	}
	nodes, _, err := client.List[*corev1.Node](ctx, api, client.Selection{})
	if err != nil {
		return err
	}
	ranges := map[string]string{}
	for _, n := range nodes {
		ranges[n.Name] = n.Spec.PodCIDR
	}
	for _, n := range c.nodes {
		file := filepath.Join(n.root.Path(layout.CNIConf), referenceConf)
		if _, err := os.Stat(file); err == nil || ranges[n.Name] == "" {
			continue
		}
		r, err := host.ReadRecord(n.root)
		if err != nil {
			return err
		}
		if err := r.WriteFile(file, referenceNetwork(n.link(), ranges[n.Name], n.root.Path("/run/xebec/ipam")), 0o644); err != nil {
			return err
		}
		for _, o := range c.nodes {
			if o != n && ranges[o.Name] != "" {
				out, err := n.Command(ctx, "ip", "route", "replace", ranges[o.Name], "via", o.Address).CombinedOutput()
				if err != nil {
					return fmt.Errorf("route to %s: %w: %s", o.Name, err, out)
				}
			}
		}
	}
	return nil
}

// link is the name of the node's pod bridge.
func (n *Node) link() string { return "cni0" }

// referenceNetwork is a pod network of bridge, host-local and portmap.
func referenceNetwork(bridge, podCIDR, ipam string) []byte {
	return fmt.Appendf(nil, `{
  "cniVersion": "1.0.0",
  "name": "reference",
  "plugins": [
    {"type": "bridge", "bridge": %q, "isGateway": true, "hairpinMode": true, "ipMasq": false,
     "ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, bridge, ipam, podCIDR)
}
