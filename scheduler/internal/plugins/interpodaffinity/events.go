package interpodaffinity

import (
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Events implements framework.Enqueuer.
func (pl *Plugin) Events() []framework.EventHint {
	return []framework.EventHint{
		{Object: framework.AssignedPod, Action: framework.Add | framework.Delete | framework.UpdatePodLabel, Hint: podChanged},
		{Object: framework.TargetPod, Action: framework.UpdatePodLabel},
		{Object: framework.Node, Action: framework.Add | framework.UpdateNodeLabel, Hint: nodeChanged},
	}
}

// podChanged: a pod that p wants near came, or one that kept it away went.
func podChanged(c *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
	was, had := e.Old.(*cache.Pod)
	now, has := e.New.(*cache.Pod)
	wants := func(o *cache.Pod) bool {
		for i := range p.Shape.Affinity {
			if !c.MatchesPod(&p.Shape.Affinity[i].Term, o.Obj) {
				return false
			}
		}
		return len(p.Shape.Affinity) > 0
	}
	if has && wants(now) != (had && wants(was)) {
		return framework.Queue
	}
	if !has && had && wants(was) {
		return framework.Queue // it may now be the first of its group
	}
	return framework.Hint(had && keepsAway(c, p, was) && !(has && keepsAway(c, p, now)))
}

func keepsAway(c *cache.Cluster, p, o *cache.Pod) bool {
	for i := range p.Shape.AntiAffinity {
		if c.MatchesPod(&p.Shape.AntiAffinity[i].Term, o.Obj) {
			return true
		}
	}
	for i := range o.Shape.AntiAffinity {
		if c.MatchesPod(&o.Shape.AntiAffinity[i].Term, p.Obj) {
			return true
		}
	}
	return false
}

// nodeChanged: a node has a key that p asks about, anew or with another value.
func nodeChanged(_ *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
	n, ok := e.New.(*corev1.Node)
	if !ok {
		return framework.Queue
	}
	was, had := e.Old.(*corev1.Node)
	if !had {
		return framework.Queue
	}
	for _, list := range [][]cache.PodTerm{p.Shape.Affinity, p.Shape.AntiAffinity} {
		for i := range list {
			if n.Labels[list[i].Key] != was.Labels[list[i].Key] {
				return framework.Queue
			}
		}
	}
	return framework.QueueSkip
}
