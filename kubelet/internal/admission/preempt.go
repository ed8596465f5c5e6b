package admission

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/eviction"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/worker"
)

// preempt makes room for a critical pod that does not fit: what is going
// already is waited for, and where that is not enough others are ended. What
// should have gone long ago is neither: the pod runs beside it, and nobody else
// goes in its place, since a runtime that can't end one may end none.
func preempt(in Input) worker.Decision {
	short := shortages(in)
	if len(short) == 0 {
		return worker.Decision{}
	}
	going := only(in.Others, func(o *corev1.Pod) bool { return in.Going[o.UID] == worker.Ends })
	if covers(going, short) {
		return worker.Decision{Wait: true}
	}
	late := only(in.Others, func(o *corev1.Pod) bool { return in.Going[o.UID] == worker.Late })
	if covers(late, short) {
		return worker.Decision{}
	}
	yields := only(in.Others, func(o *corev1.Pod) bool { return in.Going[o.UID] == worker.Stays && yieldsTo(o, in.Pod) })
	if victims := choose(yields, going, short); victims != nil {
		return worker.Decision{Wait: true, Victims: victims, Short: string(short[0].name)}
	}
	if len(late) > 0 {
		gone := slices.Concat(late, going)
		if victims := choose(yields, gone, short); victims != nil || covers(gone, short) {
			return worker.Decision{Wait: true, Victims: victims, Short: string(short[0].name)}
		}
	}
	if runtime.IsStatic(in.Pod) {
		return worker.Decision{} // the node is made for these
	}
	return worker.Decision{Refusal: &worker.Refusal{Reason: "UnexpectedAdmissionError", Message: "Unexpected error while attempting to recover from admission failure: " +
		"preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: " + list(short)}}
}

func only(pods []*corev1.Pod, is func(*corev1.Pod) bool) (out []*corev1.Pod) {
	for _, p := range pods {
		if is(p) {
			out = append(out, p)
		}
	}
	return out
}

// yieldsTo reports whether a pod may be ended for another. Static pods never
// are: nobody would start them elsewhere.
func yieldsTo(pod, other *corev1.Pod) bool {
	return !eviction.Critical(pod) || !runtime.IsStatic(pod) && priority(pod) < priority(other)
}

func priority(pod *corev1.Pod) int32 {
	if pod.Spec.Priority == nil {
		return 0
	}
	return *pod.Spec.Priority
}

// covers reports whether there is enough once pods are gone.
func covers(gone []*corev1.Pod, short []shortage) bool {
	return !slices.ContainsFunc(short, func(s shortage) bool {
		var free int64
		for _, p := range gone {
			free += share(p, s.name)
		}
		return free < s.lacks()
	})
}

// choose names those that have to go beside those that are going: the least
// valuable first, by class and then by priority, and none that need not. nil
// is that even all would not be enough.
func choose(from, going []*corev1.Pod, short []shortage) []*corev1.Pod {
	from = slices.Clone(from)
	slices.SortStableFunc(from, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), cmp.Compare(priority(a), priority(b)), b.CreationTimestamp.Compare(a.CreationTimestamp.Time))
	})
	n := 0
	for n < len(from) && !covers(slices.Concat(going, from[:n]), short) {
		n++
	}
	victims := from[:n]
	if !covers(slices.Concat(going, victims), short) {
		return nil
	}
	for i := len(victims) - 1; i >= 0; i-- {
		if less := slices.Delete(slices.Clone(victims), i, i+1); covers(slices.Concat(going, less), short) {
			victims = less
		}
	}
	return victims
}

// class is how much a pod was promised, little before much.
func class(pod *corev1.Pod) int {
	return slices.Index([]corev1.PodQOSClass{corev1.PodQOSBestEffort, corev1.PodQOSBurstable, corev1.PodQOSGuaranteed}, cgroup.QOS(pod))
}

func list(short []shortage) string {
	var b strings.Builder
	for _, s := range short {
		fmt.Fprintf(&b, "(res: %s, q: %d), ", s.name, s.lacks())
	}
	return "[" + b.String() + "]"
}
