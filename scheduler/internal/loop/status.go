package loop

import (
	"encoding/json"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/metrics"
)

// statusWrite is what a pod's status should say, and what was written last.
// One write of a pod is under way at a time; newer wishes replace older ones.
type statusWrite struct {
	pod             *cache.Pod
	condition       corev1.PodCondition
	nominated       string
	written         bool // condition and nominated are under way or done
	underWay, again bool
	then            func() // to be done when nothing is under way
}

// writeStatus makes a pod's condition and nominated node known, unless they
// are already.
func (l *Loop) writeStatus(p *cache.Pod, c corev1.PodCondition, nominated string) {
	s := l.status[p.UID]
	if s == nil {
		s = &statusWrite{}
		l.status[p.UID] = s
		if has(p.Obj, &c) && p.Obj.Status.NominatedNodeName == nominated {
			s.pod, s.condition, s.nominated, s.written = p, c, nominated, true
			return
		}
	}
	if s.written && same(&s.condition, &c) && s.nominated == nominated {
		return
	}
	s.pod, s.condition, s.nominated, s.written = p, c, nominated, true
	if s.underWay {
		s.again = true
		return
	}
	l.sendStatus(s)
}

func has(p *corev1.Pod, c *corev1.PodCondition) bool {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == c.Type {
			return same(&p.Status.Conditions[i], c)
		}
	}
	return false
}

func same(a, b *corev1.PodCondition) bool {
	return a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message
}

func (l *Loop) sendStatus(s *statusWrite) {
	c := s.condition
	c.LastTransitionTime = metav1.NewTime(l.now())
	for i := range s.pod.Obj.Status.Conditions {
		if old := &s.pod.Obj.Status.Conditions[i]; old.Type == c.Type && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	status := map[string]any{"conditions": []corev1.PodCondition{c}}
	if s.nominated != s.pod.Obj.Status.NominatedNodeName || s.nominated != "" {
		status["nominatedNodeName"] = s.nominated
		if s.nominated == "" {
			status["nominatedNodeName"] = nil
		}
	}
	l.patch(s, map[string]any{"metadata": map[string]any{"uid": s.pod.UID}, "status": status})
}

func (l *Loop) patch(s *statusWrite, doc map[string]any) {
	patch, err := json.Marshal(doc)
	if err != nil {
		l.log.Error("a status can't be encoded", zap.Error(err))
		return
	}
	s.underWay = true
	p, sent := s.pod, l.now()
	l.o.Metrics.Calls(metrics.StatusCall, 1)
	l.w.PatchStatus(p.Obj, patch, func(err error) {
		l.Post(func() {
			l.o.Metrics.Calls(metrics.StatusCall, -1)
			l.o.Metrics.Called(metrics.StatusCall, err, l.now().Sub(sent))
			l.statusWritten(p.UID, err)
		})
	})
}

func (l *Loop) statusWritten(uid types.UID, err error) {
	s := l.status[uid]
	if s == nil {
		return
	}
	s.underWay = false
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		// The next attempt to schedule the pod writes again.
		s.written = false
		l.log.Debug("a pod's status could not be written", zap.String("pod", s.pod.Key().String()), zap.Error(err))
	}
	again, then := s.again, s.then
	s.again, s.then = false, nil
	switch {
	case then != nil:
		then()
	case again && l.leading:
		l.sendStatus(s)
	case again:
		s.written = false // it is for who leads now to say
	}
}

// afterStatus keeps f until the write of a pod's status that is under way has
// ended, and drops what was to be written next; false when there is none.
func (l *Loop) afterStatus(uid types.UID, f func()) bool {
	s := l.status[uid]
	if s == nil || !s.underWay {
		return false
	}
	if s.again {
		s.again, s.written = false, false
	}
	s.then = f
	return true
}

// forgetStatus of a pod that is bound or gone. A binding that waits goes on:
// it is refused, and what was reserved given back.
func (l *Loop) forgetStatus(uid types.UID) {
	s := l.status[uid]
	delete(l.status, uid)
	if s != nil && s.then != nil {
		s.then()
	}
}
