// Package tainttoleration keeps pods off nodes with taints that they do not
// tolerate, and prefers nodes with fewer of the milder sort.
package tainttoleration

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Name of the plugin.
const Name = "TaintToleration"

// Plugin implements Filter and Score.
type Plugin struct{}

// Name implements framework.Plugin.
func (Plugin) Name() string { return Name }

var rejected = framework.NewStatus(Name, framework.Unresolvable, "node(s) had untolerated taint(s)")

// Tolerates reports whether a toleration covers a taint.
func Tolerates(t *corev1.Toleration, taint *corev1.Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
		return false
	}
	switch t.Operator {
	case "", corev1.TolerationOpEqual:
		return t.Value == taint.Value
	case corev1.TolerationOpExists:
		return true
	case corev1.TolerationOpLt, corev1.TolerationOpGt:
		bound, err := strconv.ParseInt(t.Value, 10, 64)
		have, err2 := strconv.ParseInt(taint.Value, 10, 64)
		if err != nil || err2 != nil {
			return false
		}
		return t.Operator == corev1.TolerationOpLt && have < bound || t.Operator == corev1.TolerationOpGt && have > bound
	}
	return false
}

// Tolerated reports whether one of the tolerations covers the taint.
func Tolerated(list []corev1.Toleration, taint *corev1.Taint) bool {
	for i := range list {
		if Tolerates(&list[i], taint) {
			return true
		}
	}
	return false
}

// Repels reports whether a taint keeps pods with these tolerations away.
func Repels(taints []corev1.Taint, list []corev1.Toleration) bool {
	for i := range taints {
		t := &taints[i]
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !Tolerated(list, t) {
			return true
		}
	}
	return false
}

type filter struct{ tolerations []corev1.Toleration }

func (f *filter) Filter(n *cache.Node) *framework.Status {
	if Repels(n.Obj.Spec.Taints, f.tolerations) {
		return rejected
	}
	return nil
}

// PreFilter implements framework.PreFilterer.
func (Plugin) PreFilter(_ *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	return framework.Compiled{Filter: &filter{p.Obj.Spec.Tolerations}, Static: true}, nil
}

// PreScore implements framework.PreScorer.
func (Plugin) PreScore(_ *cache.Cluster, p *cache.Pod) (framework.Scored, *framework.Status) {
	f := &facet{}
	for _, t := range p.Obj.Spec.Tolerations {
		if t.Effect == "" || t.Effect == corev1.TaintEffectPreferNoSchedule {
			f.tolerations = append(f.tolerations, t)
		}
	}
	f.Count = f.count
	return framework.Scored{Facet: f}, nil
}

type facet struct {
	framework.Counted
	tolerations []corev1.Toleration
}

func (f *facet) count(n *cache.Node) int64 {
	count := int64(0)
	for i := range n.Obj.Spec.Taints {
		t := &n.Obj.Spec.Taints[i]
		if t.Effect == corev1.TaintEffectPreferNoSchedule && !Tolerated(f.tolerations, t) {
			count++
		}
	}
	return count
}

// ScoreKeys gives fewer taints the higher score.
func (f *facet) ScoreKeys(groups []framework.Group, scores []int64) {
	f.Normalize(groups, scores, true)
}

// Events implements framework.Enqueuer.
func (Plugin) Events() []framework.EventHint {
	return []framework.EventHint{
		{Object: framework.Node, Action: framework.Add | framework.UpdateNodeTaint, Hint: tolerable},
		{Object: framework.TargetPod, Action: framework.UpdatePodToleration},
	}
}

func tolerable(_ *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
	n, ok := e.New.(*corev1.Node)
	if !ok {
		return framework.Queue
	}
	was, had := e.Old.(*corev1.Node)
	if had && !Repels(was.Spec.Taints, p.Obj.Spec.Tolerations) {
		return framework.QueueSkip // the taints were not what kept it away
	}
	return framework.Hint(!Repels(n.Spec.Taints, p.Obj.Spec.Tolerations))
}
