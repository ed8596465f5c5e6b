// Package nodeunschedulable keeps pods off cordoned nodes.
package nodeunschedulable

import (
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/plugins/tainttoleration"
)

// Name of the plugin.
const Name = "NodeUnschedulable"

// Plugin implements Filter.
type Plugin struct{}

// Name implements framework.Plugin.
func (Plugin) Name() string { return Name }

var (
	rejected = framework.NewStatus(Name, framework.Unresolvable, "node(s) were unschedulable")
	taint    = corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
)

type filter struct{}

func (filter) Filter(n *cache.Node) *framework.Status {
	if n.Obj.Spec.Unschedulable {
		return rejected
	}
	return nil
}

// PreFilter implements framework.PreFilterer.
func (Plugin) PreFilter(_ *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	if tainttoleration.Tolerated(p.Obj.Spec.Tolerations, &taint) {
		return framework.Compiled{}, nil
	}
	return framework.Compiled{Filter: filter{}, Static: true}, nil
}

// Events implements framework.Enqueuer.
func (Plugin) Events() []framework.EventHint {
	return []framework.EventHint{
		{Object: framework.Node, Action: framework.Add | framework.UpdateNodeTaint, Hint: uncordoned},
		{Object: framework.TargetPod, Action: framework.UpdatePodToleration},
	}
}

func uncordoned(_ *cache.Cluster, _ *cache.Pod, e *framework.Event) framework.Hint {
	n, ok := e.New.(*corev1.Node)
	if !ok {
		return framework.Queue
	}
	was, had := e.Old.(*corev1.Node)
	return framework.Hint(!n.Spec.Unschedulable && (!had || was.Spec.Unschedulable))
}
