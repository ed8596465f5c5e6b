package worker

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/status"
)

// allocation is what the node has given a pod, by container: what the pod asks
// for, until that changes to what the node can't give. What the pod as a whole
// was given is under wholePod.
type allocation map[string]corev1.ResourceRequirements

// wholePod is no container's name.
const wholePod = ""

// asked is what a pod asks for.
func asked(pod *corev1.Pod) allocation {
	out := allocation{}
	eachContainer(pod, func(c *corev1.Container, _ plan.Kind) { out[c.Name] = c.Resources })
	if pod.Spec.Resources != nil {
		out[wholePod] = *pod.Spec.Resources
	}
	return out
}

// remembered is what a kubelet before this one had given a pod that it has
// left: it wrote that down for pods that had asked for something else; and the
// pod's status says so of one that asked while no kubelet was there.
func remembered(pod *corev1.Pod, written allocation) allocation {
	out := asked(pod)
	if written != nil {
		for name := range out {
			if have, ok := written[name]; ok {
				out[name] = have
			}
		}
		return out
	}
	pending := pod.Status.ObservedGeneration != 0 && pod.Status.ObservedGeneration < pod.Generation
	if !pending && !slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodResizePending && c.Status == corev1.ConditionTrue
	}) {
		return out
	}
	if whole, ok := out[wholePod]; ok {
		out[wholePod] = fromStatus(whole, pod.Status.Resources, pod.Status.AllocatedResources)
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if asks, ok := out[list[i].Name]; ok {
				out[list[i].Name] = fromStatus(asks, list[i].Resources, list[i].AllocatedResources)
			}
		}
	}
	return out
}

func fromStatus(asks corev1.ResourceRequirements, actual *corev1.ResourceRequirements, allocated corev1.ResourceList) corev1.ResourceRequirements {
	if actual == nil {
		return asks
	}
	have := *actual.DeepCopy()
	if allocated != nil {
		have.Requests = allocated.DeepCopy()
	}
	have.Claims = asks.Claims
	return have
}

// of gives the pod with what it was given in the place of what it asks for.
// Nothing of the pod is changed.
func (a allocation) of(pod *corev1.Pod) *corev1.Pod {
	if a == nil || a.covers(pod) {
		return pod
	}
	out := *pod // shallow: only the containers are others
	out.Spec.InitContainers = a.over(pod.Spec.InitContainers)
	out.Spec.Containers = a.over(pod.Spec.Containers)
	if whole, ok := a[wholePod]; ok && pod.Spec.Resources != nil {
		out.Spec.Resources = &whole
	}
	return &out
}

func (a allocation) over(list []corev1.Container) []corev1.Container {
	out := slices.Clone(list)
	for i := range out {
		if r, ok := a[out[i].Name]; ok {
			out[i].Resources = r
		}
	}
	return out
}

// covers reports whether the pod was given what it asks for. Containers that
// came later, which are ephemeral, ask for nothing.
func (a allocation) covers(pod *corev1.Pod) bool {
	same := true
	if have, ok := a[wholePod]; ok && pod.Spec.Resources != nil {
		same = equality.Semantic.DeepEqual(have, *pod.Spec.Resources)
	}
	eachContainer(pod, func(c *corev1.Container, kind plan.Kind) {
		have, ok := a[c.Name]
		same = same && (!ok || kind == plan.Ephemeral || equality.Semantic.DeepEqual(have, c.Resources))
	})
	return same
}

// retryResize is how often a change that does not fit is looked at again even
// when nothing is known to have become free.
const retryResize = 30 * time.Second

// allocate decides about a pod that asks for other resources than it has, and
// gives the pod as it is to be now.
func (w *Worker) allocate(pod *corev1.Pod) *corev1.Pod {
	if w.covered(pod) {
		w.setPending(pod, nil)
		return pod
	}
	before := w.allocated
	if reason, message := w.reallocate(pod); reason != "" {
		w.setPending(pod, &status.Resize{Type: corev1.PodResizePending, Reason: reason, Message: message})
		return w.allocated.of(pod)
	}
	w.setPending(pod, nil)
	w.resize = &status.Resize{Type: corev1.PodResizeInProgress, Generation: pod.Generation}
	w.o.Events(pod, "", corev1.EventTypeNormal, "ResizeStarted", "Pod resize started: "+resizeText(pod, ""))
	if before != nil {
		w.p.freed(w)
	}
	return pod
}

// reallocate gives the pod what it asks for, or says why not. Nobody else is
// given the same meanwhile.
func (w *Worker) reallocate(pod *corev1.Pod) (reason, message string) {
	w.p.admit.Lock()
	defer w.p.admit.Unlock()
	if reason, message = w.resizable(pod); reason != "" {
		w.writeAllocation(w.allocated)
		return reason, message
	}
	given := asked(pod)
	w.writeAllocation(given)
	w.give(given)
	return "", ""
}

// resizable needs the lock of admissions.
func (w *Worker) resizable(pod *corev1.Pod) (reason, message string) {
	switch {
	case runtime.IsStatic(pod):
		return corev1.PodReasonInfeasible, "In-place resize of static-pods is not supported"
	case w.o.Resize == nil:
		return "", ""
	}
	others, _ := w.others()
	return w.o.Resize(pod, others)
}

// uses reports whether a pod has to be counted: it was admitted by this
// kubelet, or by one before it, which its status tells before it is looked at.
func uses(at stage, pod *corev1.Pod) bool {
	over := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	return at < ended && !over && (at > fresh || pod.Status.StartTime != nil)
}

// others are the pods that use the node beside this one, and those of them
// that are being ended.
func (w *Worker) others() (pods []*corev1.Pod, going map[types.UID]Going) {
	going = map[types.UID]Going{}
	for _, o := range w.p.all() {
		if o == w || !o.counts() {
			continue
		}
		if pod := o.withStatus(); pod != nil {
			pods = append(pods, pod)
			going[o.uid] = o.going()
		}
	}
	return pods, going
}

// setPending remembers a change that waits, and tells of it once.
func (w *Worker) setPending(pod *corev1.Pod, r *status.Resize) {
	was := w.pending
	w.pending = r
	w.mu.Lock()
	w.waits = r != nil
	w.mu.Unlock()
	if r == nil || was != nil && *was == *r {
		return
	}
	w.o.Events(pod, "", corev1.EventTypeWarning, "Resize"+r.Reason, "Pod resize "+r.Reason+": "+resizeText(pod, r.Message))
}

// resizeText says what a pod asks for, as Kubernetes' events do.
func resizeText(pod *corev1.Pod, problem string) string {
	type container struct {
		Name      string                      `json:"name,omitempty"`
		Resources corev1.ResourceRequirements `json:"resources,omitempty"`
	}
	out := struct {
		Init       []container `json:"initContainers,omitempty"`
		Containers []container `json:"containers,omitempty"`
		Generation int64       `json:"generation,omitempty"`
		Error      string      `json:"error,omitempty"`
	}{Generation: pod.Generation, Error: problem}
	eachContainer(pod, func(c *corev1.Container, kind plan.Kind) {
		switch kind {
		case plan.Sidecar:
			out.Init = append(out.Init, container{c.Name, c.Resources})
		case plan.Regular:
			out.Containers = append(out.Containers, container{c.Name, c.Resources})
		}
	})
	raw, err := json.Marshal(out)
	if err != nil {
		return problem // can't be: it is made of strings
	}
	return string(raw)
}

// resized notes that the pod and its containers have what they were given.
func (w *Worker) resized(pod *corev1.Pod) {
	w.whole = pod.Spec.Resources
	if w.resize == nil {
		return
	}
	w.resize = nil
	w.o.Events(pod, "", corev1.EventTypeNormal, "ResizeCompleted", "Pod resize completed: "+resizeText(pod, ""))
}

// resizes are the conditions of changes.
func (w *Worker) resizes() []status.Resize {
	var out []status.Resize
	for _, r := range []*status.Resize{w.pending, w.resize} {
		if r != nil {
			out = append(out, *r)
		}
	}
	return out
}

// freed lets pods that wait for resources be looked at again: another pod has
// ended, or has less than it had.
func (p *Pods) freed(by *Worker) {
	p.mu.Lock()
	workers := maps.Clone(p.workers)
	p.mu.Unlock()
	for _, w := range workers {
		w.mu.Lock()
		waits := w.waits
		w.mu.Unlock()
		if waits && w != by {
			w.retryNow()
		}
	}
}
