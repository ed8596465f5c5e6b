// Package nodeports keeps pods off nodes where their host ports are taken.
package nodeports

import (
	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Name of the plugin.
const Name = "NodePorts"

// Plugin implements Filter.
type Plugin struct{}

// Name implements framework.Plugin.
func (Plugin) Name() string { return Name }

var rejected = framework.NewStatus(Name, framework.Unschedulable, "node(s) didn't have free ports for the requested pod ports")

type filter []cache.Port

func (f filter) Filter(n *cache.Node) *framework.Status {
	for _, p := range f {
		if n.PortTaken(p) {
			return rejected
		}
	}
	return nil
}

// PreFilter implements framework.PreFilterer.
func (Plugin) PreFilter(_ *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	if len(p.Shape.Ports) == 0 {
		return framework.Compiled{}, framework.NewStatus(Name, framework.Skip)
	}
	return framework.Compiled{Filter: filter(p.Shape.Ports)}, nil
}

// Events implements framework.Enqueuer.
func (Plugin) Events() []framework.EventHint {
	return []framework.EventHint{
		{Object: framework.AssignedPod, Action: framework.Delete, Hint: freed},
		{Object: framework.Node, Action: framework.Add},
	}
}

func freed(_ *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
	gone, ok := e.Old.(*cache.Pod)
	if !ok {
		return framework.Queue
	}
	for _, a := range gone.Shape.Ports {
		for _, b := range p.Shape.Ports {
			if a.Port == b.Port && a.Protocol == b.Protocol {
				return framework.Queue
			}
		}
	}
	return framework.QueueSkip
}
