package tainteviction

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "taint-eviction-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "taint-eviction",
	ServiceAccount: "node-controller", EventSource: name,
	Reads:  []string{"nodes", "pods"},
	Writes: []string{"pods", "pods:status.conditions (DisruptionTarget)"},
	New:    newController,
}

const workers = 8

// Texts of events and conditions.
const (
	eventReason = "TaintManagerEviction"
	message     = "Taint manager: deleting due to NoExecute taint"
)

type reconciler struct {
	env   *control.Env
	nodes *cache.Replica[*corev1.Node]
	pods  *cache.Replica[*corev1.Pod]

	mu sync.Mutex
	// stays are since when pods tolerate taints; guarded by mu. Another taint
	// in place of one does not begin the time anew.
	stays map[cache.Key]stay
}

type stay struct {
	uid  types.UID
	from time.Time
	// scheduled: somebody was told that the pod would be deleted, in a way.
	scheduled bool
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{
		env: e, nodes: replica.Of[*corev1.Node](e.Replicas), pods: replica.Of[*corev1.Pod](e.Replicas), stays: map[cache.Key]stay{},
	}
	q := e.Queue("taint_eviction")
	r.nodes.OnChange(func(c cache.Change[*corev1.Node]) {
		if !c.HasNew || c.HasOld && same(noExecute(c.Old), noExecute(c.New)) || !c.HasOld && len(noExecute(c.New)) == 0 {
			return
		}
		for p := range r.pods.Snapshot().By(replica.PodsByNode, c.Key.Name) {
			q.Add(cache.KeyOf(p))
		}
	})
	r.pods.OnChange(func(c cache.Change[*corev1.Pod]) {
		if !c.HasNew {
			if r.waits(c.Key) {
				q.Add(c.Key)
			}
			return
		}
		if n, ok := r.nodes.Get("", c.New.Spec.NodeName); ok && len(noExecute(n)) > 0 {
			q.Add(c.Key)
		}
	})
	return e.Loop(name, q, workers, r.reconcile, r.nodes, r.pods), nil
}

func same(a, b []*corev1.Taint) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Key != b[i].Key || a[i].Value != b[i].Value {
			return false
		}
	}
	return true
}

func (r *reconciler) waits(key cache.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.stays[key]
	return ok
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	p, ok := r.pods.Snapshot().Lookup(key)
	if !ok {
		r.forget(key)
		return nil
	}
	n, ok := r.nodes.Get("", p.Spec.NodeName)
	if !ok {
		r.forget(key)
		return nil
	}
	taints, now := noExecute(n), time.Now()
	d := plan(p, taints, r.from(p, taints, now), now)
	switch {
	case d.Evict:
		return r.evict(ctx, p)
	case !d.Threatened || d.Again == 0:
		if r.forget(key) && p.DeletionTimestamp == nil {
			r.env.Events.Eventf(p, control.Normal, eventReason, "Cancelling deletion of Pod %s", key)
		}
		return nil
	}
	r.mu.Lock()
	s := r.stays[key]
	s.scheduled = true
	r.stays[key] = s
	r.mu.Unlock()
	return control.Later(d.Again)
}

// from is since when the pod stays; it is remembered while there are taints.
func (r *reconciler) from(p *corev1.Pod, taints []*corev1.Taint, now time.Time) time.Time {
	if len(taints) == 0 {
		return now
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.stays[cache.KeyOf(p)]
	if !ok || s.uid != p.UID {
		s = stay{uid: p.UID, from: since(p, taints, now)}
		r.stays[cache.KeyOf(p)] = s
	}
	return s.from
}

// forget reports whether a deletion was scheduled.
func (r *reconciler) forget(key cache.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.stays[key].scheduled
	delete(r.stays, key)
	return was
}

func (r *reconciler) evict(ctx context.Context, p *corev1.Pod) error {
	key := cache.KeyOf(p)
	r.env.Events.Eventf(p, control.Normal, eventReason, "Marking for deletion Pod %s", key)
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID},
		"status": map[string]any{"conditions": []corev1.PodCondition{{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByTaintManager", Message: message,
			LastTransitionTime: metav1.Now(), ObservedGeneration: p.Generation,
		}}},
	})
	if err != nil {
		return err
	}
	_, err = client.Patch[*corev1.Pod](ctx, r.env.Client, p.Namespace, p.Name, types.StrategicMergePatchType, patch, client.WriteOptions{Subresource: "status", OmitObject: true})
	if err == nil {
		err = client.Delete[*corev1.Pod](ctx, r.env.Client, p.Namespace, p.Name, client.DeleteOptions{UID: p.UID})
	}
	switch {
	case err == nil || apierrors.IsNotFound(err):
		r.forget(key)
		return nil
	case apierrors.IsConflict(err):
		return control.Retry(err)
	}
	return fmt.Errorf("evict pod %s: %w", key, err)
}
