package loop

import (
	"encoding/json"
	"fmt"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/queue"
)

// evict makes room: victims get a condition that says why, then are deleted.
// Nominations of lesser pods on the node end.
func (l *Loop) evict(e *queue.Entry, r *framework.PostFilterResult) {
	l.o.Metrics.Victims(len(r.Victims))
	for _, v := range r.Victims {
		if w := l.waiting[v.UID]; w != nil {
			w.decide(framework.NewStatus("", framework.Unschedulable, "preempted"))
			continue
		}
		l.evictOne(e, v, r.Nominated)
	}
	n := l.Cluster.Node(r.Nominated)
	if n == nil {
		return
	}
	for _, p := range append([]*cache.Pod(nil), n.Nominated...) {
		if p.Priority() >= e.Pod.Priority() || p.UID == e.Pod.UID {
			continue
		}
		if other := l.Queue.Get(p.UID); other != nil {
			l.withdraw(other)
			l.clearNominated(p)
			l.Queue.Activate(p.UID)
		}
	}
}

func (l *Loop) evictOne(e *queue.Entry, v *cache.Pod, node string) {
	p := v.Obj
	v.Evicted = true
	l.rec.Record(p, e.Profile.Name, corev1.EventTypeNormal, "Preempted", "Preempting", fmt.Sprintf("Preempted by pod %s on node %s", e.Pod.UID, node))
	if p.DeletionTimestamp != nil {
		return
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID}, "status": map[string]any{"conditions": []corev1.PodCondition{{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler,
		Message: fmt.Sprintf("%s: preempting to accommodate a higher priority pod", e.Profile.Name), LastTransitionTime: metav1.NewTime(l.now()),
		ObservedGeneration: p.Generation,
	}}}})
	if err != nil {
		l.log.Error("a condition can't be encoded", zap.Error(err))
		return
	}
	term := l.term
	l.w.PatchStatus(p, patch, func(err error) {
		if err != nil && !apierrors.IsNotFound(err) {
			l.log.Warn("a victim's condition could not be written", zap.String("namespace", p.Namespace), zap.String("name", p.Name), zap.Error(err))
		}
		l.Post(func() {
			if !l.current(term) {
				l.spare(e, v)
				return
			}
			l.deleteVictim(e, v)
		})
	})
}

func (l *Loop) deleteVictim(e *queue.Entry, v *cache.Pod) {
	p := v.Obj
	l.w.Delete(p, func(err error) {
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		l.log.Warn("a victim could not be deleted", zap.String("namespace", p.Namespace), zap.String("name", p.Name), zap.Error(err))
		l.Post(func() { l.spare(e, v) })
	})
}

// spare a victim after all: the preemptor must not wait for what does not
// happen.
func (l *Loop) spare(e *queue.Entry, v *cache.Pod) {
	v.Evicted = false
	if now := l.Cluster.Placed(v.UID); now != nil {
		now.Evicted = false // the watch may have told of a newer version
	}
	l.Queue.Activate(e.Pod.UID)
}

// clearNominated writes that a pod no longer waits for a node.
func (l *Loop) clearNominated(p *cache.Pod) {
	s := l.status[p.UID]
	if s == nil {
		return
	}
	l.writeStatus(p, s.condition, "")
}
