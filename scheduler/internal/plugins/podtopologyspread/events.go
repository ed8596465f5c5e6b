package podtopologyspread

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Events implements framework.Enqueuer.
func (pl *Plugin) Events() []framework.EventHint {
	return []framework.EventHint{
		{Object: framework.AssignedPod, Action: framework.Add | framework.Delete | framework.UpdatePodLabel, Hint: pl.podChanged},
		{Object: framework.TargetPod, Action: framework.UpdatePodLabel},
		{Object: framework.Node, Action: framework.Add | framework.Delete | framework.UpdateNodeLabel | framework.UpdateNodeTaint, Hint: pl.nodeChanged},
	}
}

// hard visits the selectors and keys of constraints that p must satisfy.
func (pl *Plugin) hard(c *cache.Cluster, p *cache.Pod, yield func(key string, s labels.Selector) bool) bool {
	list := p.Obj.Spec.TopologySpreadConstraints
	var selector labels.Selector
	if len(list) == 0 && pl.Selects != nil {
		if selector = pl.Selects(c, p); selector == nil {
			return false
		}
		list = pl.Defaults
	}
	for i := range list {
		if list[i].WhenUnsatisfiable != corev1.DoNotSchedule {
			continue
		}
		s := selector
		if s == nil {
			s = cache.Selector(list[i].LabelSelector)
		}
		if yield(list[i].TopologyKey, s) {
			return true
		}
	}
	return false
}

func (pl *Plugin) podChanged(c *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
	was, had := e.Old.(*cache.Pod)
	now, has := e.New.(*cache.Pod)
	if had && was.Obj.Namespace != p.Obj.Namespace || has && now.Obj.Namespace != p.Obj.Namespace {
		return framework.QueueSkip
	}
	return framework.Hint(pl.hard(c, p, func(_ string, s labels.Selector) bool {
		before := had && s.Matches(labels.Set(was.Obj.Labels))
		after := has && s.Matches(labels.Set(now.Obj.Labels))
		return before != after
	}))
}

// nodeChanged: a node entered or left a domain, or counts now.
func (pl *Plugin) nodeChanged(c *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
	was, had := e.Old.(*corev1.Node)
	now, has := e.New.(*corev1.Node)
	if had != has || e.Action&framework.UpdateNodeTaint != 0 {
		return framework.Queue
	}
	return framework.Hint(pl.hard(c, p, func(key string, _ labels.Selector) bool {
		return was.Labels[key] != now.Labels[key]
	}))
}
