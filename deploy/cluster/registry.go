package cluster

import (
	"fmt"
	"net/url"
	"path/filepath"

	"xebec.dev/deploy/internal/host"
)

// Registry lets the runtimes of all nodes pull from a registry: images named
// HOST[:PORT]/… come from base, http:// included. The runtime reads this at
// each pull.
func (c *Cluster) Registry(name, base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return fmt.Errorf("registry %q: expected a URL such as http://10.0.0.5:5000", base)
	}
	for _, n := range c.nodes {
		r, err := host.ReadRecord(n.root)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("server = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", base, base)
		if err := r.WriteFile(filepath.Join(n.root.Path(host.Registries), name, "hosts.toml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Gateway is this machine's address on the bridge between nodes: what listens
// there, nodes and pods reach.
func (c *Cluster) Gateway() (string, error) {
	a, _, err := c.gateway()
	return a.String(), err
}
