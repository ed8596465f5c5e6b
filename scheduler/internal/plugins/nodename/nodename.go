// Package nodename lets a pod that names its node go there only.
package nodename

import (
	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Name of the plugin.
const Name = "NodeName"

// Plugin implements Filter.
type Plugin struct{}

// Name implements framework.Plugin.
func (Plugin) Name() string { return Name }

var rejected = framework.NewStatus(Name, framework.Unresolvable, "node(s) didn't match the requested node name")

type filter string

func (f filter) Filter(n *cache.Node) *framework.Status {
	if n.Name != string(f) {
		return rejected
	}
	return nil
}

// Sign implements framework.Signer: the shape leaves the node's name out.
func (Plugin) Sign(_ *cache.Cluster, p *cache.Pod) (string, bool) { return p.Obj.Spec.NodeName, true }

// PreFilter implements framework.PreFilterer.
func (Plugin) PreFilter(_ *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	if p.Obj.Spec.NodeName == "" {
		return framework.Compiled{}, nil
	}
	return framework.Compiled{Filter: filter(p.Obj.Spec.NodeName), Static: true}, nil
}

// Events implements framework.Enqueuer.
func (Plugin) Events() []framework.EventHint {
	return []framework.EventHint{{Object: framework.Node, Action: framework.Add}}
}
