package pod

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// SortForDeletion orders pods: the ones that are missed least come first.
// related is how many pods of the same purpose run on each node.
func SortForDeletion(pods []*corev1.Pod, related map[string]int, now time.Time) {
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int { return compare(a, b, related, now) })
}

func compare(a, b *corev1.Pod, related map[string]int, now time.Time) int {
	return cmp.Or(
		first(a.Spec.NodeName == "", b.Spec.NodeName == ""),
		cmp.Compare(phaseRank[a.Status.Phase], phaseRank[b.Status.Phase]),
		first(!Ready(a), !Ready(b)),
		cmp.Compare(deletionCost(a), deletionCost(b)),
		cmp.Compare(related[b.Spec.NodeName], related[a.Spec.NodeName]),
		younger(readySince(a), readySince(b), a, b, now),
		moreRestarts(a, b),
		younger(a.CreationTimestamp.Time, b.CreationTimestamp.Time, a, b, now),
	)
}

// first puts what holds for a alone first.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

var phaseRank = map[corev1.PodPhase]int{corev1.PodPending: 0, corev1.PodUnknown: 1, corev1.PodRunning: 2}

func deletionCost(p *corev1.Pod) int64 {
	v, ok := p.Annotations[corev1.PodDeletionCost]
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || v[0] == '+' || len(v) > 1 && v[0] == '0' {
		return 0 // admission refuses such values
	}
	return n
}

// younger compares ages by orders of magnitude, so that among pods of about
// the same age chance decides and not always the same ones go. A zero time is
// the youngest.
func younger(at, bt time.Time, a, b *corev1.Pod, now time.Time) int {
	switch {
	case at.Equal(bt):
		return 0
	case at.IsZero():
		return -1
	case bt.IsZero():
		return 1
	}
	return cmp.Or(cmp.Compare(magnitude(now.Sub(at)), magnitude(now.Sub(bt))), cmp.Compare(a.UID, b.UID))
}

func magnitude(d time.Duration) int64 {
	if d <= 0 {
		return -1
	}
	return int64(math.Log2(float64(d)))
}

// moreRestarts puts the pod first whose containers have restarted more often;
// sidecars decide where the others don't.
func moreRestarts(a, b *corev1.Pod) int {
	ac, as := restarts(a)
	bc, bs := restarts(b)
	return cmp.Or(cmp.Compare(bc, ac), cmp.Compare(bs, as))
}

func restarts(p *corev1.Pod) (containers, sidecars int32) {
	for i := range p.Status.ContainerStatuses {
		containers = max(containers, p.Status.ContainerStatuses[i].RestartCount)
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		for j := range p.Status.InitContainerStatuses {
			if s := &p.Status.InitContainerStatuses[j]; s.Name == c.Name {
				sidecars = max(sidecars, s.RestartCount)
			}
		}
	}
	return containers, sidecars
}
