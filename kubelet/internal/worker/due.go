package worker

import (
	"slices"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/runtime"
)

// Going is whether a pod that is here is being ended.
type Going int

// How far it has come.
const (
	Stays Going = iota
	Ends        // it is waited for
	// Late is one that should have ended by now: nobody can tell when it will,
	// so nobody waits, and what it has is taken.
	Late
)

// leastPatience with a pod's end: a runtime that is asked to kill needs some
// time too.
const leastPatience = 10 * time.Second

// ends needs the lock.
func (w *Worker) ends() bool {
	return w.at >= ending || w.verdict != nil || w.removed || w.pod.DeletionTimestamp != nil
}

// expect notes by when a pod that is being ended should have. Less time to end
// brings that forward, and nothing puts it off. It needs the lock.
func (w *Worker) expect() {
	if !w.ends() {
		w.due = time.Time{}
		return
	}
	w.due = earlier(w.due, now().Add(max(runtime.Patience(graceOf(w.pod, w.grace, nil, "")), leastPatience)))
}

func (w *Worker) going() Going {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.ends():
		return Stays
	case w.due.After(now()):
		return Ends
	}
	return Late
}

// awaited names those who are to end.
func awaited(others []*corev1.Pod, going map[types.UID]Going, victims []*corev1.Pod) (names []string) {
	for _, o := range others {
		if going[o.UID] == Ends || slices.Contains(victims, o) {
			names = append(names, o.Namespace+"/"+o.Name)
		}
	}
	return names
}

// nextDue is when the first of those that are being ended should have, zero if
// nobody is to be waited for.
func (p *Pods) nextDue() time.Time {
	var first time.Time
	for _, w := range p.all() {
		w.mu.Lock()
		if w.at < ended && w.due.After(now()) {
			first = earlier(first, w.due)
		}
		w.mu.Unlock()
	}
	return first
}

// overdue tells, once, of a pod that does not end although the node needs that,
// and gives when to look again, zero for never.
func (w *Worker) overdue(v view) time.Time {
	w.mu.Lock()
	due, at := w.due, w.at
	w.mu.Unlock()
	switch {
	case w.told || at >= ended || v.verdict == nil || v.verdict.Disrupted == "":
		return time.Time{}
	case due.After(now()):
		return due
	}
	w.told = true
	w.log.Warn("a pod that has to go does not end; others no longer wait for it", zap.String("reason", v.verdict.Reason))
	w.o.Events(v.pod, "", corev1.EventTypeWarning, "ExceededGracePeriod", "Container runtime did not kill the pod within specified grace period.")
	return time.Time{}
}
