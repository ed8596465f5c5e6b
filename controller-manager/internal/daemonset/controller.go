package daemonset

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
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
	r.pods.OnChange(r.podChanged)
	r.nodes.OnChange(r.nodeChanged)
	r.revisions.OnChange(func(c cache.Change[*appsv1.ControllerRevision]) {
		for _, v := range []*appsv1.ControllerRevision{c.Old, c.New} {
			if v != nil {
				r.queueOwner(v)
			}
		}
	})
	return e.Loop(name, r.queue, e.Config.WorkersOf("daemonset"), r.reconcile, r.sets, r.pods, r.nodes, r.revisions), nil
}

func (r *reconciler) queueOwner(obj metav1.Object) {
	if ref := metav1.GetControllerOfNoCopy(obj); ref != nil && ref.Kind == gvk.Kind {
		r.queue.Add(cache.Key{Namespace: obj.GetNamespace(), Name: ref.Name})
	}
}

func (r *reconciler) podChanged(c cache.Change[*corev1.Pod]) {
	if c.HasOld {
		r.queueOwner(c.Old)
	}
	if !c.HasNew {
		return
	}
	if metav1.GetControllerOfNoCopy(c.New) != nil {
		r.queueOwner(c.New)
		return
	}
	for ds := range r.sets.Snapshot().In(c.New.Namespace) {
		if owner.Selector(ds.Spec.Selector).Matches(labels.Set(c.New.Labels)) {
			r.queue.Add(cache.KeyOf(ds))
		}
	}
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

func (r *reconciler) settled(ctx context.Context, key cache.Key) (bool, error) {
	for _, f := range []func(context.Context, *write.Writer, cache.Key) (bool, error){r.own.Settled, r.written.Settled, r.history.Settled} {
		if ok, err := f(ctx, r.env.Write, key); err != nil || !ok {
			return ok, err
		}
	}
	return true, nil
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	ds, ok := r.sets.Snapshot().Lookup(key)
	if !ok {
		r.own.Forget(key)
		r.written.Forget(key)
		r.history.Forget(key)
		return nil
	}
	if ok, err := r.settled(ctx, key); err != nil {
		return err
	} else if !ok {
		return control.Unsettled()
	}
	if ds.Spec.Selector == nil || len(ds.Spec.Selector.MatchLabels)+len(ds.Spec.Selector.MatchExpressions) == 0 {
		r.env.Events.Event(ds, control.Warning, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.")
		return nil
	}
	snapshot := r.pods.Snapshot()
	candidates := slices.Collect(snapshot.By(replica.PodsByOwner, string(ds.UID)))
	candidates = slices.AppendSeq(candidates, snapshot.By(replica.PodsByOwner, replica.Orphans(ds.Namespace)))
	claim := owner.Sort(ds, owner.Selector(ds.Spec.Selector), candidates)
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
	q, err := client.UpdateWrite(r.env.Client, now, client.WriteOptions{Subresource: "status", OmitObject: true})
	if err != nil {
		return err
	}
	res := r.env.Write.Do(ctx, q)
	r.own.Wrote(cache.KeyOf(ds), res)
	if apierrors.IsNotFound(res.Err) {
		return nil
	}
	return control.Retry(res.Err)
}

func (r *reconciler) apply(ctx context.Context, ds *appsv1.DaemonSet, p Plan, hash string, all []*appsv1.ControllerRevision, pods []*corev1.Pod) error {
	failed := errors.Join(r.delete(ctx, ds, p.Delete), r.create(ctx, ds, p.Create, hash))
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

func (r *reconciler) create(ctx context.Context, ds *appsv1.DaemonSet, nodes []string, hash string) error {
	writes := make([]*client.Write, len(nodes))
	for i, n := range nodes {
		q, err := client.CreateWrite(r.env.Client, newPod(ds, n, hash), client.WriteOptions{OmitObject: true})
		if err != nil {
			return fmt.Errorf("pod of %s for node %s: %w", ds.Name, n, err)
		}
		writes[i] = q
	}
	results := r.env.Write.Slow(ctx, writes)
	r.written.Wrote(cache.KeyOf(ds), results...)
	var first error
	for i := range results {
		switch err := results[i].Err; {
		case err == nil:
			r.env.Events.Eventf(ds, control.Normal, "SuccessfulCreate", "Created pod: %v", results[i].Response.GetName())
		case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			return nil
		default:
			r.env.Events.Eventf(ds, control.Warning, "FailedCreate", "Error creating: %v", err)
			if first == nil {
				first = err
			}
		}
	}
	return first
}

func (r *reconciler) delete(ctx context.Context, ds *appsv1.DaemonSet, pods []Removal) error {
	writes := make([]*client.Write, len(pods))
	for i, d := range pods {
		if d.Reason != "" {
			kind := control.Warning
			if d.Reason == "SucceededDaemonPod" {
				kind = control.Normal
			}
			r.env.Events.Event(ds, kind, d.Reason, d.Message)
			r.failures.note(cache.KeyOf(ds).String()+" "+nodeOf(d.Pod), r.now())
		}
		q, err := client.DeleteWrite[*corev1.Pod](r.env.Client, d.Pod.Namespace, d.Pod.Name, client.DeleteOptions{UID: d.Pod.UID})
		if err != nil {
			return err
		}
		writes[i] = q
	}
	key := cache.KeyOf(ds)
	var first error
	for i, res := range r.env.Write.All(ctx, writes) {
		switch err := res.Err; {
		case err == nil:
			r.written.Deleted(key, pods[i].Pod)
			r.env.Events.Eventf(ds, control.Normal, "SuccessfulDelete", "Deleted pod: %v", pods[i].Pod.Name)
		case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
			r.written.Deleted(key, pods[i].Pod)
		default:
			if errors.Is(err, client.ErrOutcomeUnknown) {
				r.written.Wrote(key, res)
			}
			r.env.Events.Eventf(ds, control.Warning, "FailedDelete", "Error deleting: %v", err)
			if first == nil {
				first = err
			}
		}
	}
	return first
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
