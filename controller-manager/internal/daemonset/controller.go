package daemonset

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/dependents"
	"xebec.dev/controller-manager/internal/owner"
	"xebec.dev/controller-manager/internal/replica"
	"xebec.dev/controller-manager/internal/revision"
	"xebec.dev/controller-manager/internal/write"
)

const name = "daemonset-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "daemonset",
	ServiceAccount: "daemon-set-controller", EventSource: "daemonset-controller",
	Reads:  []string{"daemonsets", "pods", "nodes", "controllerrevisions"},
	Writes: []string{"pods", "controllerrevisions", "daemonsets:status"},
	New:    newController,
}

type reconciler struct {
	env       *control.Env
	sets      *cache.Replica[*appsv1.DaemonSet]
	pods      *cache.Replica[*corev1.Pod]
	nodes     *cache.Replica[*corev1.Node]
	revisions *cache.Replica[*appsv1.ControllerRevision]
	own       *write.Ledger[*appsv1.DaemonSet]
	written   *write.Ledger[*corev1.Pod]
	history   *revision.Ledger
	queue     *workqueue.Queue[cache.Key]
	failures  *failures
	now       func() time.Time
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{
		env: e, sets: replica.Of[*appsv1.DaemonSet](e.Replicas), pods: replica.Of[*corev1.Pod](e.Replicas),
		nodes: replica.Of[*corev1.Node](e.Replicas), revisions: replica.Of[*appsv1.ControllerRevision](e.Replicas),
		queue: e.Queue("daemonset"), failures: &failures{by: map[string]failed{}}, now: time.Now,
	}
	r.own, r.written, r.history = write.NewLedger(r.sets), write.NewLedger(r.pods), write.NewLedger(r.revisions)
	r.sets.OnChange(func(c cache.Change[*appsv1.DaemonSet]) { r.queue.Add(c.Key) })
	pods := dependents.Follow[*appsv1.DaemonSet, *corev1.Pod]{
		Kind: gvk, Queue: r.queue, Owners: r.sets,
		Selector: func(ds *appsv1.DaemonSet) *metav1.LabelSelector { return ds.Spec.Selector },
	}
	r.pods.OnChange(pods.Changed)
	r.nodes.OnChange(r.nodeChanged)
	revisions := dependents.Follow[*appsv1.DaemonSet, *appsv1.ControllerRevision]{Kind: gvk, Queue: r.queue, Owners: r.sets}
	r.revisions.OnChange(revisions.Changed)
	return e.Loop(name, r.queue, e.Config.WorkersOf("daemonset"), r.reconcile, r.sets, r.pods, r.nodes, r.revisions), nil
}

// nodeChanged queues the sets for which the node has become another: heartbeats
// come often and matter to none.
func (r *reconciler) nodeChanged(c cache.Change[*corev1.Node]) {
	if c.HasOld && c.HasNew && maps.Equal(c.Old.Labels, c.New.Labels) && apiequality.Semantic.DeepEqual(c.Old.Spec.Taints, c.New.Spec.Taints) {
		return
	}
	for ds := range r.sets.Snapshot().All() {
		if c.HasOld && c.HasNew {
			should, may := eligible(ds, c.Old)
			nowShould, nowMay := eligible(ds, c.New)
			if should == nowShould && may == nowMay {
				continue
			}
		}
		r.queue.Add(cache.KeyOf(ds))
	}
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	ds, ok := r.sets.Snapshot().Lookup(key)
	if !ok {
		write.Forget(key, r.own, r.written, r.history)
		return nil
	}
	if ok, err := write.Settled(ctx, r.env.Write, key, r.own, r.written, r.history); err != nil {
		return err
	} else if !ok {
		return control.Unsettled()
	}
	if ds.Spec.Selector == nil || len(ds.Spec.Selector.MatchLabels)+len(ds.Spec.Selector.MatchExpressions) == 0 {
		r.env.Events.Event(ds, control.Warning, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.")
		return nil
	}
	claim := owner.Sort(ds, owner.Selector(ds.Spec.Selector), owner.Candidates(r.pods.Snapshot(), replica.PodsByOwner, ds))
	if claim.Changes() {
		if err := owner.Apply(ctx, r.env.Write, r.written, ds, owner.Kind{GroupVersionKind: gvk}, claim); err != nil {
			return err
		}
		return control.Unsettled()
	}
	hash, all, err := r.version(ctx, ds)
	if err != nil || hash == "" {
		return err
	}
	p := plan(observed{
		ds: ds, nodes: slices.Collect(r.nodes.Snapshot().All()), pods: claim.Owned, hash: hash,
		patience: func(node string) time.Duration { return r.failures.patience(key.String()+" "+node, r.now()) },
	}, r.now())
	return r.apply(ctx, ds, p, hash, all, claim.Owned)
}

// version is the hash of the set's template; empty while there is none.
func (r *reconciler) version(ctx context.Context, ds *appsv1.DaemonSet) (string, []*appsv1.ControllerRevision, error) {
	have := slices.Collect(r.revisions.Snapshot().By(replica.RevisionsByOwner, string(ds.UID)))
	h, err := revision.Plan(revision.Owner{
		Object: ds, GVK: gvk, Template: &ds.Spec.Template, Collisions: ds.Status.CollisionCount, HashLabel: appsv1.DefaultDaemonSetUniqueLabelKey,
	}, have)
	if err != nil {
		return "", nil, err
	}
	now, collision, err := h.Apply(ctx, r.env.Write)
	if err != nil {
		return "", nil, control.Retry(err)
	}
	if collision {
		status := *ds.Status.DeepCopy()
		n := int32(1)
		if c := ds.Status.CollisionCount; c != nil {
			n += *c
		}
		status.CollisionCount = &n
		return "", nil, r.writeStatus(ctx, ds, status)
	}
	return now.Labels[appsv1.DefaultDaemonSetUniqueLabelKey], h.All, nil
}

func (r *reconciler) writeStatus(ctx context.Context, ds *appsv1.DaemonSet, status appsv1.DaemonSetStatus) error {
	if sameStatus(&ds.Status, &status) {
		return nil
	}
	now := ds.DeepCopy()
	now.Status = status
	return dependents.WriteStatus(ctx, r.env, r.own, now)
}

func (r *reconciler) apply(ctx context.Context, ds *appsv1.DaemonSet, p Plan, hash string, all []*appsv1.ControllerRevision, pods []*corev1.Pod) error {
	own := dependents.Pods{Env: r.env, Ledger: r.written}
	failed := errors.Join(own.Delete(ctx, ds, r.removed(ds, p.Delete)), own.Create(ctx, ds, wanted(ds, p.Create, hash)))
	if err := r.writeStatus(ctx, ds, p.Status); err != nil {
		return errors.Join(failed, err)
	}
	if failed != nil {
		return failed
	}
	live := map[string]bool{hash: true}
	for _, v := range pods {
		live[v.Labels[appsv1.ControllerRevisionHashLabelKey]] = true
	}
	old := revision.Outdated(all, ds.Spec.RevisionHistoryLimit, func(v *appsv1.ControllerRevision) bool {
		return live[v.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]]
	})
	if err := revision.Remove(ctx, r.env.Write, r.history, cache.KeyOf(ds), old); err != nil {
		return err
	}
	return control.Later(p.Again)
}

// removed notes why pods go, and gives them.
func (r *reconciler) removed(ds *appsv1.DaemonSet, removals []Removal) []*corev1.Pod {
	out := make([]*corev1.Pod, len(removals))
	for i, d := range removals {
		out[i] = d.Pod
		if d.Reason == "" {
			continue
		}
		kind := control.Warning
		if d.Reason == "SucceededDaemonPod" {
			kind = control.Normal
		}
		r.env.Events.Event(ds, kind, d.Reason, d.Message)
		r.failures.note(cache.KeyOf(ds).String()+" "+nodeOf(d.Pod), r.now())
	}
	return out
}

func wanted(ds *appsv1.DaemonSet, nodes []string, hash string) []*corev1.Pod {
	out := make([]*corev1.Pod, len(nodes))
	for i, n := range nodes {
		out[i] = newPod(ds, n, hash)
	}
	return out
}

// failures remembers pods that failed, by set and node: each time the next one
// is left longer before it is replaced.
type failures struct {
	mu sync.Mutex
	by map[string]failed // guarded by mu
}

type failed struct {
	at    time.Time
	pause time.Duration
}

const (
	firstPause = time.Second
	maxPause   = 15 * time.Minute
)

// patience is how long a failed pod is still to be left.
func (f *failures) patience(key string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	have, ok := f.by[key]
	if !ok {
		return 0
	}
	return max(0, have.at.Add(have.pause).Sub(now))
}

// note a replacement. What went well for twice the longest pause is forgotten.
func (f *failures) note(key string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, v := range f.by {
		if now.Sub(v.at) > 2*maxPause {
			delete(f.by, k)
		}
	}
	have, ok := f.by[key]
	pause := firstPause
	if ok {
		pause = min(2*have.pause, maxPause)
	}
	f.by[key] = failed{at: now, pause: pause}
}
