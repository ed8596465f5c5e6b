// Package schedulinggates keeps pods with scheduling gates out of the queue.
package schedulinggates

import (
	"fmt"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Name of the plugin.
const Name = "SchedulingGates"

// Plugin implements PreEnqueue.
type Plugin struct{}

// Name implements framework.Plugin.
func (Plugin) Name() string { return Name }

// PreEnqueue rejects pods with gates.
func (Plugin) PreEnqueue(p *cache.Pod) *framework.Status {
	gates := p.Obj.Spec.SchedulingGates
	if len(gates) == 0 {
		return nil
	}
	names := make([]string, len(gates))
	for i := range gates {
		names[i] = gates[i].Name
	}
	return framework.NewStatus(Name, framework.Unresolvable, fmt.Sprintf("waiting for scheduling gates: %v", names))
}

// Events implements framework.Enqueuer.
func (Plugin) Events() []framework.EventHint {
	return []framework.EventHint{{Object: framework.TargetPod, Action: framework.UpdatePodGates}}
}
