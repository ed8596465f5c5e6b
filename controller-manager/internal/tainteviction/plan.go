// Package tainteviction deletes pods from nodes whose NoExecute taints they do
// not tolerate, or tolerate no longer.
package tainteviction

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/controller-manager/internal/placement"
)

// Plan is what to do about a pod.
type Plan struct {
	// Threatened: there are taints on which the pod's stay depends.
	Threatened bool
	// Evict now, or look again after a time; 0 is never.
	Evict bool
	Again time.Duration
}

func (p Plan) String() string {
	switch {
	case p.Evict:
		return "evict"
	case p.Again > 0:
		return "evict in " + p.Again.String()
	case p.Threatened:
		return "tolerated for good"
	}
	return ""
}

// noExecute are the taints that matter.
func noExecute(n *corev1.Node) (out []*corev1.Taint) {
	for i := range n.Spec.Taints {
		if n.Spec.Taints[i].Effect == corev1.TaintEffectNoExecute {
			out = append(out, &n.Spec.Taints[i])
		}
	}
	return out
}

// since is from when the pod's time on the node counts: the pod came, or the
// first of the taints.
func since(p *corev1.Pod, taints []*corev1.Taint, now time.Time) time.Time {
	from := now
	for _, t := range taints {
		if t.TimeAdded != nil && t.TimeAdded.Time.Before(from) {
			from = t.TimeAdded.Time
		}
	}
	came := p.CreationTimestamp.Time
	if p.Status.StartTime != nil {
		came = p.Status.StartTime.Time
	}
	if came.After(from) {
		from = came
	}
	if from.After(now) {
		from = now
	}
	return from
}

// plan decides about a pod on a node with taints. from is since when it stays
// there in spite of taints.
func plan(p *corev1.Pod, taints []*corev1.Taint, from, now time.Time) Plan {
	if p.DeletionTimestamp != nil || len(taints) == 0 {
		return Plan{}
	}
	out := Plan{Threatened: true}
	bounded, least := false, time.Duration(0)
	for _, t := range taints {
		tolerated, limited, d := tolerance(p.Spec.Tolerations, t)
		if !tolerated {
			return Plan{Threatened: true, Evict: true}
		}
		if limited && (!bounded || d < least) {
			bounded, least = true, d
		}
	}
	if !bounded {
		return out
	}
	if out.Again = from.Add(least).Sub(now); out.Again <= 0 {
		return Plan{Threatened: true, Evict: true}
	}
	return out
}

// tolerance is that of the first toleration of a taint.
func tolerance(tolerations []corev1.Toleration, t *corev1.Taint) (tolerated, limited bool, d time.Duration) {
	for i := range tolerations {
		if !placement.Tolerates(&tolerations[i], t) {
			continue
		}
		if s := tolerations[i].TolerationSeconds; s != nil {
			return true, true, time.Duration(max(*s, 0)) * time.Second
		}
		return true, false, 0
	}
	return false, false, 0
}
