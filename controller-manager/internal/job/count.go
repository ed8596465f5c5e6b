package job

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// settle turns pods noted as uncounted into counts once they have been
// released: the note and the finalizer together make a pod count once.
func (p *planner) settle() {
	s := &p.plan.Status
	u := s.UncountedTerminatedPods
	if u == nil {
		u = &batchv1.UncountedTerminatedPods{}
		s.UncountedTerminatedPods = u
	}
	held := map[types.UID]bool{}
	for _, v := range p.pods {
		held[v.UID] = tracked(v)
	}
	take := func(l *[]types.UID) (n int32) {
		*l = slices.DeleteFunc(*l, func(uid types.UID) bool {
			if held[uid] {
				return false
			}
			n++
			return true
		})
		return n
	}
	s.Succeeded += take(&u.Succeeded)
	s.Failed += take(&u.Failed)
}

// lost reports whether a pod counts as failed.
func (p *planner) lost(v *corev1.Pod) bool {
	if v.Status.Phase == corev1.PodFailed {
		return true
	}
	return !p.onlyFailed() && v.DeletionTimestamp != nil && v.Status.Phase != corev1.PodSucceeded
}

// onlyFailed reports whether a pod is replaced only once it has ended.
func (p *planner) onlyFailed() bool {
	r := p.job.Spec.PodReplacementPolicy
	return r != nil && *r == batchv1.Failed || p.job.Spec.PodFailurePolicy != nil
}

// maxRelease bounds what one status update accounts for: the notes must fit.
const maxRelease = 500

// count notes the pods that have ended. end is not nil when the job is over:
// then what has not succeeded has failed.
func (p *planner) count(end *ending) {
	u := p.plan.Status.UncountedTerminatedPods
	for _, v := range p.pods {
		if len(p.plan.Release) >= maxRelease {
			break
		}
		if !tracked(v) {
			continue
		}
		i := indexOf(v)
		foreign := p.indexed && (i < 0 || i >= p.completions)
		switch {
		case v.Status.Phase == corev1.PodSucceeded:
			p.plan.Release = append(p.plan.Release, v)
			switch {
			case foreign:
			case p.indexed:
				p.completed[i] = true
			default:
				note(&u.Succeeded, v.UID, u.Failed)
			}
		case p.lost(v) || end != nil && v.DeletionTimestamp != nil:
			if !p.releasable(v, i, end) {
				continue
			}
			p.plan.Release = append(p.plan.Release, v)
			if !foreign && p.verdicts[v.UID].counts() {
				note(&u.Failed, v.UID, u.Succeeded)
			}
			if p.job.Spec.BackoffLimitPerIndex != nil && !foreign && p.indexFails(v) {
				p.failed[i] = true
			}
		}
	}
	if p.indexed {
		p.plan.Status.CompletedIndexes = p.completed.String()
		p.plan.Status.Succeeded = int32(len(p.completed))
		if p.job.Spec.BackoffLimitPerIndex != nil {
			for i := range p.completed {
				delete(p.failed, i)
			}
			text := p.failed.String()
			p.plan.Status.FailedIndexes = &text
		}
	}
}

func note(l *[]types.UID, uid types.UID, other []types.UID) {
	if !slices.Contains(*l, uid) && !slices.Contains(other, uid) {
		*l = append(*l, uid)
	}
}

// releasable keeps the last failed pod of an index until it is replaced: the
// number of the index's failures is written on it.
func (p *planner) releasable(v *corev1.Pod, index int, end *ending) bool {
	if p.job.Spec.BackoffLimitPerIndex == nil || end != nil || p.completed[index] || p.failed[index] || p.indexFails(v) {
		return true
	}
	for _, o := range p.pods {
		if o.UID != v.UID && indexOf(o) == index && annotatedCount(o, batchv1.JobIndexFailureCountAnnotation)+annotatedCount(o, batchv1.JobIndexIgnoredFailureCountAnnotation) >
			annotatedCount(v, batchv1.JobIndexFailureCountAnnotation)+annotatedCount(v, batchv1.JobIndexIgnoredFailureCountAnnotation) {
			return true
		}
	}
	return false
}

// indexFails reports whether a failed pod was the last that its index may have.
func (p *planner) indexFails(v *corev1.Pod) bool {
	w := p.verdicts[v.UID]
	if w.action == batchv1.PodFailurePolicyActionFailIndex {
		return true
	}
	return w.counts() && annotatedCount(v, batchv1.JobIndexFailureCountAnnotation)+1 > int(*p.job.Spec.BackoffLimitPerIndex)
}

// succeeded and failures are the counts with what is noted and not yet counted.
func (p *planner) succeeded() int {
	if p.indexed {
		return len(p.completed)
	}
	return int(p.plan.Status.Succeeded) + len(p.plan.Status.UncountedTerminatedPods.Succeeded)
}

func (p *planner) failures() int {
	return int(p.plan.Status.Failed) + len(p.plan.Status.UncountedTerminatedPods.Failed)
}
