package loop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/metrics"
	"xebec.dev/scheduler/internal/queue"
	"xebec.dev/scheduler/internal/schedule"
)

// one schedules a pod.
func (l *Loop) one(e *queue.Entry) {
	p := e.Pod
	if p.Obj.DeletionTimestamp != nil {
		l.rec.Record(p.Obj, e.Profile.Name, corev1.EventTypeWarning, "FailedScheduling", "Scheduling", "skip schedule deleting pod: "+p.Key().String())
		return // the entry goes with the pod
	}
	if l.Cluster.Placed(p.UID) != nil {
		return
	}
	began := l.now()
	l.decided++
	d := l.Schedule.Schedule(p, e.Nominated)
	l.o.Metrics.Algorithm(l.now().Sub(began))
	switch {
	case d.Err != nil:
		l.failed(e, d.Err, began)
	case d.Node == "":
		l.rejected(e, &d, began)
	default:
		l.assume(e, d.Node, began)
	}
	l.o.Metrics.Nodes(d.Evaluated)
}

// assume places the pod before the API server knows, and goes on to bind it.
func (l *Loop) assume(e *queue.Entry, node string, began time.Time) {
	p := e.Pod
	l.Cluster.Place(p, node)
	l.assumed[p.UID] = l.term
	l.reserve(e, &framework.Attempt{Cluster: l.Cluster, Pod: p, Node: node}, began)
}

// withdraw ends a nomination, if there is one.
func (l *Loop) withdraw(e *queue.Entry) {
	if e.Nominated != "" {
		l.Cluster.Withdraw(e.Pod, e.Nominated)
		e.Nominated = ""
	}
}

// stale reports whether a pod's node was chosen in a term that is over: the
// scheduler that leads now knows nothing of it.
func (l *Loop) stale(p *cache.Pod) bool {
	term, assumed := l.assumed[p.UID]
	return !l.leading || assumed && term != l.term
}

// giveUp takes back what was assumed and says nothing: the pod's turn comes
// again with leadership, unless another scheduler is quicker.
func (l *Loop) giveUp(e *queue.Entry, a *framework.Attempt) {
	l.unreserve(e.Profile, a)
	if l.unassume(a.Pod) {
		l.renew(e)
		l.Queue.Return(e)
		return
	}
	l.done(e)
}

// done forgets a pod that another scheduler has bound.
func (l *Loop) done(e *queue.Entry) {
	if uid := e.Pod.UID; l.Queue.Get(uid) == e {
		l.Queue.Delete(uid)
		l.forgetStatus(uid)
	}
}

// bind sends the binding, once no write is under way that says that the pod
// waits: on another stream it might come after it. The binding counts from
// here on, or all that wait would be sent at once when they need not any more.
func (l *Loop) bind(e *queue.Entry, a *framework.Attempt, began time.Time) {
	l.bindings++
	if !l.afterStatus(a.Pod.UID, func() { l.sendBinding(e, a, began) }) {
		l.sendBinding(e, a, began)
	}
}

func (l *Loop) sendBinding(e *queue.Entry, a *framework.Attempt, began time.Time) {
	if l.stale(a.Pod) {
		l.bindings--
		l.giveUp(e, a)
		return
	}
	if l.o.Extenders != nil && l.o.Extenders.Binds(a.Pod.Obj) || !l.batches(e.Profile) {
		l.bindAside(e, a, began)
		return
	}
	sent := l.now()
	l.o.Metrics.Calls(metrics.BindingCall, 1)
	l.w.Bind(a.Pod.Obj, a.Node, func(err error) {
		l.Post(func() {
			l.bindings--
			took := l.now().Sub(sent)
			l.o.Metrics.Calls(metrics.BindingCall, -1)
			l.o.Metrics.Called(metrics.BindingCall, err, took)
			l.o.Metrics.Bound(took)
			l.o.Metrics.Point("Bind", outcome(err), e.Profile.Name, took)
			l.bound(e, a, began, err)
		})
	})
}

func outcome(err error) string {
	if err != nil {
		return "Error"
	}
	return "Success"
}

// bound takes the result of a binding in.
func (l *Loop) bound(e *queue.Entry, a *framework.Attempt, began time.Time, err error) {
	if errors.Is(err, client.ErrOutcomeUnknown) {
		l.findOut(e, a, began)
		return
	}
	if err != nil {
		l.undo(e, a, fmt.Errorf("binding rejected: %w", err), began)
		return
	}
	p := a.Pod
	l.forgetStatus(p.UID)
	l.Queue.Delete(p.UID)
	now := l.now()
	l.o.Metrics.Attempt("scheduled", e.Profile.Name, now.Sub(began))
	l.o.Metrics.Scheduled(e.Attempts, now.Sub(e.Ready))
	if e.Flushed {
		l.o.Metrics.AfterFlush()
	}
	l.rec.Record(p.Obj, e.Profile.Name, corev1.EventTypeNormal, "Scheduled", "Binding", "Successfully assigned "+p.Obj.Namespace+"/"+p.Obj.Name+" to "+a.Node)
	for _, pl := range e.Profile.PostBind {
		pl.PostBind(a)
	}
}

// undo takes back what was assumed, and lets the pod try again.
func (l *Loop) undo(e *queue.Entry, a *framework.Attempt, err error, began time.Time) {
	if l.stale(a.Pod) {
		l.giveUp(e, a)
		return
	}
	l.unreserve(e.Profile, a)
	if !l.unassume(a.Pod) { // the watch has told that it is bound, or gone
		l.done(e)
		return
	}
	l.failed(e, err, began)
}

// unassume is false when the pod was no longer assumed.
func (l *Loop) unassume(p *cache.Pod) bool {
	if _, ok := l.assumed[p.UID]; !ok {
		return false
	}
	delete(l.assumed, p.UID)
	if placed := l.Cluster.Placed(p.UID); placed != nil {
		l.Cluster.Remove(placed)
		l.event(framework.Event{Object: framework.AssignedPod, Action: framework.Delete, Label: "AssignedPodDelete", Old: placed})
	}
	return true
}

// lookupTime bounds the question what became of a binding.
const (
	lookupTime  = 30 * time.Second
	lookupPause = 200 * time.Millisecond
)

// findOut asks the API server what became of a binding. Until it answers the
// pod stays assumed: it is never bound twice.
func (l *Loop) findOut(e *queue.Entry, a *framework.Attempt, began time.Time) {
	if l.o.Lookup == nil {
		return // the watch will tell
	}
	l.side.Add(1)
	go func() {
		defer l.side.Done()
		for l.ctx.Err() == nil {
			ctx, cancel := context.WithTimeout(l.ctx, lookupTime)
			p, err := l.o.Lookup(ctx, a.Pod.Obj.Namespace, a.Pod.Obj.Name)
			cancel()
			switch {
			case err == nil && p.UID == a.Pod.UID && p.Spec.NodeName != "":
				l.Post(func() { l.bound(e, a, began, nil) })
				return
			case err == nil && p.UID == a.Pod.UID:
				l.Post(func() { l.undo(e, a, errors.New("binding was lost with the connection"), began) })
				return
			case err == nil || apierrors.IsNotFound(err):
				return // gone: the watch tells
			}
			select {
			case <-time.After(lookupPause):
			case <-l.ctx.Done():
			}
		}
	}()
}

// failed handles an error, which says nothing about the cluster.
func (l *Loop) failed(e *queue.Entry, err error, began time.Time) {
	l.log.Info("pod could not be scheduled", zap.String("namespace", e.Pod.Obj.Namespace), zap.String("name", e.Pod.Obj.Name), zap.Error(err))
	l.o.Metrics.Attempt("error", e.Profile.Name, l.now().Sub(began))
	l.renew(e)
	l.withdraw(e)
	l.Queue.Fail(e, l.now())
	l.report(e, corev1.PodReasonSchedulerError, err.Error(), "")
}

// renew takes the version of a pod that came while it was being bound.
func (l *Loop) renew(e *queue.Entry) {
	if e.Newest != nil {
		e.Pod, e.Newest = l.Cluster.NewPod(e.Newest), nil
	}
}

// rejected handles a pod that fits nowhere.
func (l *Loop) rejected(e *queue.Entry, d *schedule.Decision, began time.Time) {
	nominated := l.makeRoom(e, d)
	if l.Queue.Get(e.Pod.UID) != e {
		return
	}
	l.o.Metrics.Attempt("unschedulable", e.Profile.Name, l.now().Sub(began))
	message := d.Diagnosis.Message()
	switch {
	case nominated == e.Nominated:
	case nominated == "":
		l.withdraw(e)
	default:
		l.withdraw(e)
		e.Nominated = nominated
		l.Cluster.Nominate(e.Pod, nominated)
	}
	l.Queue.Reject(e, d.Diagnosis.Plugins, d.Diagnosis.Pending, l.now())
	l.report(e, corev1.PodReasonUnschedulable, message, e.Nominated)
}

// report tells people why a pod waits: an event, and the pod's condition.
func (l *Loop) report(e *queue.Entry, reason, message, nominated string) {
	l.rec.Record(e.Pod.Obj, e.Profile.Name, corev1.EventTypeWarning, "FailedScheduling", "Scheduling", message)
	l.writeStatus(e.Pod, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: e.Pod.Obj.Generation,
	}, nominated)
}
