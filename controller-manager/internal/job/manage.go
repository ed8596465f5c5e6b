package job

import (
	"cmp"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/controller-manager/internal/pod"
)

// Pauses before failed pods are replaced.
const (
	firstPause = 10 * time.Second
	maxPause   = 10 * time.Minute
)

// manage plans the pods that are too many or too few.
func (p *planner) manage() {
	if p.suspended() {
		p.plan.Delete, p.plan.Uncount = p.active, true
		return
	}
	want := p.wanted()
	if remove := p.surplus(len(p.active) - want); len(remove) > 0 {
		p.plan.Delete, p.plan.Uncount = remove, true
		return
	}
	n := want - len(p.active)
	if p.onlyFailed() {
		n -= p.terminating
	}
	if n <= 0 {
		return
	}
	if p.job.Spec.BackoffLimitPerIndex == nil {
		if left := p.pause(p.pods); left > 0 {
			p.again(left)
			return
		}
	}
	if !p.indexed {
		for range n {
			p.plan.Create = append(p.plan.Create, -1)
		}
		return
	}
	p.indexes(n)
}

// wanted is how many pods should be active.
func (p *planner) wanted() int {
	parallel := int(value(p.job.Spec.Parallelism))
	if p.job.Spec.Completions == nil {
		// Whoever works on a queue is done once one of them is.
		if p.succeeded() > 0 {
			return min(len(p.active), parallel)
		}
		return parallel
	}
	return max(0, min(parallel, p.completions-p.succeeded()-len(p.failed)))
}

// surplus are pods to remove: those of indexes that are done, unknown or taken
// twice, and as many more as are too many.
func (p *planner) surplus(n int) []*corev1.Pod {
	var out, rest []*corev1.Pod
	sorted := slices.Clone(p.active)
	pod.SortForDeletion(sorted, nil, p.now)
	if !p.indexed {
		return sorted[:max(0, min(n, len(sorted)))]
	}
	seen := map[int]bool{}
	for _, v := range slices.Backward(sorted) {
		i := indexOf(v)
		if i < 0 || i >= p.completions || seen[i] || p.completed[i] || p.failed[i] {
			out = append(out, v)
			continue
		}
		seen[i] = true
		rest = append(rest, v)
	}
	if n -= len(out); n > 0 {
		slices.SortStableFunc(rest, func(a, b *corev1.Pod) int { return cmp.Compare(indexOf(b), indexOf(a)) })
		pod.SortForDeletion(rest, nil, p.now)
		out = append(out, rest[:min(n, len(rest))]...)
	}
	return out
}

// indexes plans new pods for the lowest indexes that have none.
func (p *planner) indexes(n int) {
	taken := map[int]bool{}
	for _, v := range p.pods {
		if pod.Active(v) || p.onlyFailed() && pod.Terminating(v) || v.Status.Phase == corev1.PodSucceeded {
			taken[indexOf(v)] = true
		}
	}
	var byIndex map[int][]*corev1.Pod
	if p.job.Spec.BackoffLimitPerIndex != nil {
		byIndex = map[int][]*corev1.Pod{}
		for _, v := range p.pods {
			byIndex[indexOf(v)] = append(byIndex[indexOf(v)], v)
		}
	}
	for i := 0; i < p.completions && n > 0; i++ {
		if taken[i] || p.completed[i] || p.failed[i] {
			continue
		}
		if left := p.pause(byIndex[i]); left > 0 {
			p.again(left)
			continue
		}
		p.plan.Create = append(p.plan.Create, i)
		n--
	}
}

// pause is how long still to wait before failed pods are replaced: it doubles
// with each failure since the last success.
func (p *planner) pause(pods []*corev1.Pod) time.Duration {
	var success, failure time.Time
	for _, v := range pods {
		if v.Status.Phase == corev1.PodSucceeded {
			success = latest(success, ended(v))
		}
	}
	n := 0
	for _, v := range pods {
		// Failures that are ignored by the limits make the next pod wait all
		// the same: else a pod that fails at once is replaced without end.
		if v.Status.Phase != corev1.PodFailed {
			continue
		}
		if at := ended(v); at.After(success) {
			n++
			failure = latest(failure, at)
		}
		if p.job.Spec.BackoffLimitPerIndex != nil {
			n = max(n, annotatedCount(v, batchv1.JobIndexFailureCountAnnotation)+annotatedCount(v, batchv1.JobIndexIgnoredFailureCountAnnotation)+1)
		}
	}
	if n == 0 {
		return 0
	}
	pause := maxPause
	if n < 7 {
		pause = min(firstPause<<(n-1), maxPause)
	}
	return max(0, failure.Add(pause).Sub(p.now))
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// ended is when a finished pod has ended, as far as can be told.
func ended(v *corev1.Pod) time.Time {
	var at time.Time
	for i := range v.Status.ContainerStatuses {
		if t := v.Status.ContainerStatuses[i].State.Terminated; t != nil {
			at = latest(at, t.FinishedAt.Time)
		}
	}
	if !at.IsZero() {
		return at
	}
	if c := pod.Condition(v, corev1.PodReady); c != nil && !c.LastTransitionTime.IsZero() {
		return c.LastTransitionTime.Time
	}
	if v.DeletionTimestamp != nil {
		return v.DeletionTimestamp.Time
	}
	return v.CreationTimestamp.Time
}
