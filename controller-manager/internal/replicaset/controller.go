package replicaset

import (
	"context"
	"errors"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/dependents"
	"xebec.dev/controller-manager/internal/owner"
	"xebec.dev/controller-manager/internal/pod"
	"xebec.dev/controller-manager/internal/replica"
	"xebec.dev/controller-manager/internal/write"
)

// Spec of the controller of ReplicaSets.
var Spec = control.Spec{
	Name: "replicaset-controller", Alias: "replicaset",
	ServiceAccount: "replicaset-controller", EventSource: "replicaset-controller",
	Reads:  []string{"replicasets", "pods"},
	Writes: []string{"pods", "replicasets:status"},
	New: func(e *control.Env) (control.Runner, error) {
		sets := replica.Of[*appsv1.ReplicaSet](e.Replicas)
		return newController(e, &kind[*appsv1.ReplicaSet]{
			spec: "replicaset-controller", queue: "replicaset", gvk: appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), workers: e.Config.WorkersOf("replicaset"),
			objects: sets,
			set:     func(s *appsv1.ReplicaSet) *appsv1.ReplicaSet { return s },
			status: func(s *appsv1.ReplicaSet, status appsv1.ReplicaSetStatus) *appsv1.ReplicaSet {
				s = s.DeepCopy()
				s.Status = status
				return s
			},
			siblings: func(s *appsv1.ReplicaSet) []*appsv1.ReplicaSet {
				ref := metav1.GetControllerOfNoCopy(s)
				if ref == nil {
					return nil
				}
				return slices.Collect(sets.Snapshot().By(replica.ReplicaSetsByOwner, string(ref.UID)))
			},
		})
	},
}

// kind is what differs between ReplicaSets and ReplicationControllers.
type kind[T scheme.Object] struct {
	spec, queue string
	gvk         schema.GroupVersionKind
	workers     int
	objects     *cache.Replica[T]
	// set is the object as a ReplicaSet; status is the object with a status.
	set    func(T) *appsv1.ReplicaSet
	status func(T, appsv1.ReplicaSetStatus) T
	// untold kinds have no count of terminating pods in their status.
	untold bool
	// siblings share the object's controller, itself included.
	siblings func(T) []*appsv1.ReplicaSet
}

type reconciler[T scheme.Object] struct {
	*kind[T]
	env    *control.Env
	pods   *cache.Replica[*corev1.Pod]
	ledger *write.Ledger[*corev1.Pod]
	queue  *workqueue.Queue[cache.Key]
	now    func() time.Time
}

func newController[T scheme.Object](e *control.Env, k *kind[T]) (control.Runner, error) {
	pods := replica.Of[*corev1.Pod](e.Replicas)
	r := &reconciler[T]{kind: k, env: e, pods: pods, ledger: write.NewLedger(pods), queue: e.Queue(k.queue), now: time.Now}
	k.objects.OnChange(func(c cache.Change[T]) { r.queue.Add(c.Key) })
	own := dependents.Follow[T, *corev1.Pod]{
		Kind: k.gvk, Queue: r.queue, Owners: k.objects,
		Selector: func(obj T) *metav1.LabelSelector { return k.set(obj).Spec.Selector },
	}
	pods.OnChange(own.Changed)
	return e.Loop(k.spec, r.queue, k.workers, r.reconcile, k.objects, pods), nil
}

func (r *reconciler[T]) reconcile(ctx context.Context, key cache.Key) error {
	obj, ok := r.objects.Snapshot().Lookup(key)
	if !ok {
		r.ledger.Forget(key)
		return nil
	}
	if settled, err := r.ledger.Settled(ctx, r.env.Write, key); err != nil {
		return err
	} else if !settled {
		return control.Unsettled()
	}
	set := r.set(obj)
	claim := owner.Sort(set, owner.Selector(set.Spec.Selector), owner.Candidates(r.pods.Snapshot(), replica.PodsByOwner, set))
	if claim.Changes() {
		if err := owner.Apply(ctx, r.env.Write, r.ledger, obj, owner.Kind{GroupVersionKind: r.gvk}, claim); err != nil {
			return err
		}
		return control.Unsettled()
	}
	o := observed{set: set, pods: claim.Owned}
	if len(o.pods) > int(*set.Spec.Replicas) {
		o.related = r.related(obj, set) // matters for deletions only
	}
	p := plan(o, r.now())
	if r.untold {
		p.Status.TerminatingReplicas = nil
	}
	return r.apply(ctx, obj, set, p)
}

// related counts the active pods by node of the set and its siblings.
func (r *reconciler[T]) related(obj T, set *appsv1.ReplicaSet) map[string]int {
	uids := map[string]bool{string(set.UID): true}
	for _, s := range r.siblings(obj) {
		uids[string(s.UID)] = true
	}
	snapshot, out := r.pods.Snapshot(), map[string]int{}
	for uid := range uids {
		for p := range snapshot.By(replica.PodsByOwner, uid) {
			if pod.Active(p) {
				out[p.Spec.NodeName]++
			}
		}
	}
	return out
}

// apply carries a plan out. The status waits for the writes to show, unless
// they failed: then it says so.
func (r *reconciler[T]) apply(ctx context.Context, obj T, set *appsv1.ReplicaSet, p Plan) error {
	var failed error
	reason, write := "", dependents.Pods{Env: r.env, Ledger: r.ledger}
	switch {
	case p.Create > 0:
		reason, failed = "FailedCreate", write.Create(ctx, obj, r.wanted(set, p.Create))
	case len(p.Delete) > 0:
		reason, failed = "FailedDelete", write.Delete(ctx, obj, p.Delete)
	}
	if reason != "" && failed == nil {
		return control.Unsettled()
	}
	failure(&p.Status, reason, failed, r.now())
	if !sameStatus(set, &p.Status) {
		if _, err := client.UpdateStatus(ctx, r.env.Client, r.status(obj, p.Status), client.WriteOptions{OmitObject: true}); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return errors.Join(failed, control.Retry(err))
		}
	}
	if failed != nil {
		return failed
	}
	return control.Later(p.Again)
}

// wanted are n pods of the set's template.
func (r *reconciler[T]) wanted(set *appsv1.ReplicaSet, n int) []*corev1.Pod {
	ref, out := owner.Ref(set, r.gvk), make([]*corev1.Pod, n)
	for i := range out {
		out[i] = pod.FromTemplate(&set.Spec.Template, set.Namespace, set.Name, ref)
	}
	return out
}
