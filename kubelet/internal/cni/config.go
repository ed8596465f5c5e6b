// Package cni is the default CNI plugin: a bridge per node, a veth pair per
// pod, addresses from the node's pod networks. One exec per pod, no iptables:
// masquerade and host ports are kube-proxy's, routes between nodes too.
//
// State is a file per address below StateDir, which does not outlive a boot,
// like the containers it speaks of.
package cni

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
)

// Config is the plugin's part of a network configuration list.
type Config struct {
	types.NetConf
	// Bridge is the link that pods are joined to; "cni0" when empty.
	Bridge string `json:"bridge,omitempty"`
	// MTU of the pods' links; 0 leaves the kernel's.
	MTU int `json:"mtu,omitempty"`
	// PodCIDRs are the node's networks, at most one of a family.
	PodCIDRs []string `json:"podCIDRs"`
	// StateDir remembers who has which address; "/run/xebec-bridge" when empty.
	StateDir string `json:"stateDir,omitempty"`

	networks []netip.Prefix
}

func parseConfig(stdin []byte) (*Config, error) {
	c := &Config{}
	if err := json.Unmarshal(stdin, c); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "network configuration", err.Error())
	}
	if c.Bridge == "" {
		c.Bridge = "cni0"
	}
	if c.StateDir == "" {
		c.StateDir = "/run/xebec-bridge"
	}
	families := map[bool]bool{}
	for _, text := range c.PodCIDRs {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, invalid("podCIDRs: %q is not a network like 10.244.1.0/24", text)
		}
		p = p.Masked()
		if p.Addr().BitLen()-p.Bits() < 2 {
			return nil, invalid("podCIDRs: %s has no room for a gateway and a pod", p)
		}
		if families[p.Addr().Is4()] {
			return nil, invalid("podCIDRs: %s is the second of its family", p)
		}
		families[p.Addr().Is4()] = true
		c.networks = append(c.networks, p)
	}
	return c, nil
}

func invalid(format string, args ...any) error {
	return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf(format, args...), "")
}

// needNetworks tells when the node has no pod network yet.
func (c *Config) needNetworks() error {
	if len(c.networks) > 0 {
		return nil
	}
	return types.NewError(types.ErrPluginNotAvailable, "podCIDRs is empty: the node has no pod network yet", "")
}

// gateway is the bridge's address in a network: the first after the
// network's own.
func gateway(p netip.Prefix) netip.Addr { return p.Masked().Addr().Next() }
