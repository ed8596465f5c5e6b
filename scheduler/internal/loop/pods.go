package loop

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/feed"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/queue"
)

func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// PodChanged takes a pod's change in.
func (l *Loop) PodChanged(c feed.Change[*corev1.Pod]) {
	switch {
	case c.New == nil:
		l.podGone(c.Old)
	case finished(c.New):
		l.podGone(c.New)
	case c.New.Spec.NodeName != "":
		l.podPlaced(c.New)
	default:
		l.podWaits(c.Old, c.New)
	}
}

func (l *Loop) podGone(p *corev1.Pod) {
	l.forgetStatus(p.UID)
	if e := l.Queue.Delete(p.UID); e != nil {
		if e.Nominated != "" {
			l.Cluster.Withdraw(e.Pod, e.Nominated)
			l.event(framework.Event{Object: framework.AssignedPod, Action: framework.Delete, Label: "AssignedPodDelete", Old: e.Pod})
		}
		if w := l.waiting[p.UID]; w != nil {
			w.decide(framework.NewStatus("", framework.Error, "pod deleted"))
		}
	}
	delete(l.assumed, p.UID)
	placed := l.Cluster.Placed(p.UID)
	if placed == nil {
		return
	}
	l.Cluster.Remove(placed)
	l.event(framework.Event{Object: framework.AssignedPod, Action: framework.Delete, Label: "AssignedPodDelete", Old: placed})
}

func (l *Loop) podPlaced(p *corev1.Pod) {
	now := l.Cluster.NewPod(p)
	was := l.Cluster.Placed(p.UID)
	_, assumed := l.assumed[p.UID]
	delete(l.assumed, p.UID)
	if e := l.Queue.Get(p.UID); e != nil && !assumed {
		// Somebody else bound it.
		l.withdraw(e)
		l.Queue.Delete(p.UID)
	}
	if was != nil && !assumed {
		l.placedChanged(was, now)
		return
	}
	l.Cluster.Update(now, p.Spec.NodeName)
	l.event(framework.Event{Object: framework.AssignedPod, Action: framework.Add, Label: "AssignedPodAdd", New: now})
}

func (l *Loop) placedChanged(was, now *cache.Pod) {
	// Update may keep was and give it now's object: compare before.
	old := *was
	l.Cluster.Update(now, now.Obj.Spec.NodeName)
	var action framework.Action
	if !maps.Equal(old.Obj.Labels, now.Obj.Labels) {
		action |= framework.UpdatePodLabel
	}
	if old.Shape != now.Shape {
		action |= framework.UpdatePodScaleDown
	}
	if old.Terminating != now.Terminating {
		action |= framework.Delete // it no longer counts everywhere
	}
	if action != 0 {
		l.event(framework.Event{Object: framework.AssignedPod, Action: action, Label: "AssignedPodUpdate", Old: &old, New: now})
	}
}

func (l *Loop) podWaits(old, p *corev1.Pod) {
	profile := l.profiles[p.Spec.SchedulerName]
	if profile == nil {
		return
	}
	if _, assumed := l.assumed[p.UID]; assumed {
		if e := l.Queue.Get(p.UID); e != nil {
			e.Newest = p
		}
		return
	}
	e := l.Queue.Get(p.UID)
	now := l.Cluster.NewPod(p)
	if e == nil {
		e = l.Queue.Add(now, profile, l.now())
		if n := p.Status.NominatedNodeName; n != "" {
			e.Nominated = n
			l.Cluster.Nominate(now, n)
		}
		l.event(framework.Event{Object: framework.UnscheduledPod, Action: framework.Add, Label: "UnscheduledPodAdd", New: now})
		return
	}
	was := e.Pod
	if e.Nominated != "" {
		l.Cluster.Withdraw(was, e.Nominated)
	}
	// Others may nominate a node, too; our own writes say nothing new.
	if n := p.Status.NominatedNodeName; old != nil && n != old.Status.NominatedNodeName && l.status[p.UID] == nil {
		e.Nominated = n
	}
	if e.Nominated != "" {
		l.Cluster.Nominate(now, e.Nominated)
	}
	if action := targetChange(was, now); action != 0 {
		l.Queue.Update(l.Cluster, now, &framework.Event{Object: framework.TargetPod, Action: action, Label: "UnscheduledPodUpdate", Old: was, New: now}, l.now())
		return
	}
	e.Pod = now
}

// targetChange is what is new about a waiting pod; 0 when it is the status.
func targetChange(was, now *cache.Pod) (action framework.Action) {
	a, b := was.Obj, now.Obj
	if len(a.Spec.SchedulingGates) != len(b.Spec.SchedulingGates) {
		action |= framework.UpdatePodGates
	}
	if !maps.Equal(a.Labels, b.Labels) {
		action |= framework.UpdatePodLabel
	}
	if !apiequality.Semantic.DeepEqual(a.Spec.Tolerations, b.Spec.Tolerations) {
		action |= framework.UpdatePodToleration
	}
	if was.Shape != now.Shape {
		action |= framework.UpdatePodScaleDown | framework.UpdateOther
	}
	if !maps.Equal(a.Annotations, b.Annotations) || len(a.Status.ResourceClaimStatuses) != len(b.Status.ResourceClaimStatuses) {
		action |= framework.UpdateOther
	}
	return action
}

func (l *Loop) event(e framework.Event) {
	began := time.Now()
	l.Queue.Event(l.Cluster, &e, l.now())
	l.o.Metrics.Handled(e.Label, time.Since(began))
}

// NodeChanged takes a node's change in.
func (l *Loop) NodeChanged(c feed.Change[*corev1.Node]) {
	e := framework.Event{Object: framework.Node}
	if c.Old != nil {
		e.Old = c.Old
	}
	switch {
	case c.New == nil:
		l.Cluster.RemoveNode(c.Old.Name)
		e.Action, e.Label = framework.Delete, "NodeDelete"
	case c.Old == nil:
		e.New = c.New
		l.Cluster.SetNode(c.New)
		e.Action, e.Label = framework.Add, "NodeAdd"
	default:
		e.New = c.New
		e.Action = nodeChange(c.Old, c.New)
		if e.Action == 0 {
			return // a heartbeat
		}
		l.Cluster.SetNode(c.New)
		e.Label = "NodeUpdate"
	}
	l.event(e)
}

// nodeChange is what is new about a node.
func nodeChange(a, b *corev1.Node) (action framework.Action) {
	if !apiequality.Semantic.DeepEqual(a.Status.Allocatable, b.Status.Allocatable) {
		action |= framework.UpdateNodeAllocatable
	}
	if !maps.Equal(a.Labels, b.Labels) {
		action |= framework.UpdateNodeLabel
	}
	if a.Spec.Unschedulable != b.Spec.Unschedulable || !apiequality.Semantic.DeepEqual(a.Spec.Taints, b.Spec.Taints) {
		action |= framework.UpdateNodeTaint
	}
	if !maps.Equal(a.Annotations, b.Annotations) {
		action |= framework.UpdateNodeAnnotation
	}
	if !apiequality.Semantic.DeepEqual(a.Status.Images, b.Status.Images) || !apiequality.Semantic.DeepEqual(a.Status.DeclaredFeatures, b.Status.DeclaredFeatures) {
		action |= framework.UpdateNodeCondition
	}
	return action
}

// NamespaceChanged takes a namespace's change in.
func (l *Loop) NamespaceChanged(c feed.Change[*corev1.Namespace]) {
	if c.New == nil {
		l.Cluster.RemoveNamespace(c.Old.Name)
		return
	}
	l.Cluster.SetNamespace(c.New.Name, c.New.Labels)
	if c.Old != nil && !maps.Equal(c.Old.Labels, c.New.Labels) {
		l.Queue.Wake("NamespaceUpdate", l.now())
	}
}

// Changed wakes pods that wait for another kind of object.
func (l *Loop) Changed(object framework.Object, old, now any) {
	e := framework.Event{Object: object, Action: framework.UpdateOther, Old: old, New: now}
	switch {
	case old == nil:
		e.Action, e.Label = framework.Add, string(object)+"Add"
	case now == nil:
		e.Action, e.Label = framework.Delete, string(object)+"Delete"
	default:
		e.Label = string(object) + "Update"
	}
	l.event(e)
}

// Pods are all that the loop knows, placed or waiting; nil when it has ended.
// Any goroutine but the loop's own may ask.
func (l *Loop) Pods() []*corev1.Pod {
	out := make(chan []*corev1.Pod, 1)
	l.Post(func() {
		all := make([]*corev1.Pod, 0, l.Cluster.PlacedLen()+l.Queue.Len(queue.Active))
		for p := range l.Cluster.AllPlaced {
			all = append(all, p.Obj)
		}
		for e := range l.Queue.All {
			if l.Cluster.Placed(e.Pod.UID) == nil {
				all = append(all, e.Pod.Obj)
			}
		}
		out <- all
	})
	select {
	case all := <-out:
		return all
	case <-l.ended:
		return nil
	}
}
