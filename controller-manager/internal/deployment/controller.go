package deployment

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

const name = "deployment-controller"

var gvk = appsv1.SchemeGroupVersion.WithKind("Deployment")

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "deployment",
	ServiceAccount: "deployment-controller", EventSource: "deployment-controller",
	Reads:  []string{"deployments", "replicasets", "pods"},
	Writes: []string{"replicasets", "replicasets:spec.replicas", "replicasets:metadata.annotations", "deployments:status", "deployments:metadata.annotations"},
	New:    newController,
}

type reconciler struct {
	env         *control.Env
	deployments *cache.Replica[*appsv1.Deployment]
	sets        *cache.Replica[*appsv1.ReplicaSet]
	pods        *cache.Replica[*corev1.Pod]
	own         *write.Ledger[*appsv1.Deployment]
	written     *write.Ledger[*appsv1.ReplicaSet]
	queue       *workqueue.Queue[cache.Key]
	now         func() time.Time
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{
		env: e, deployments: replica.Of[*appsv1.Deployment](e.Replicas), sets: replica.Of[*appsv1.ReplicaSet](e.Replicas),
		pods: replica.Of[*corev1.Pod](e.Replicas), queue: e.Queue("deployment"), now: time.Now,
	}
	r.own, r.written = write.NewLedger(r.deployments), write.NewLedger(r.sets)
	r.deployments.OnChange(func(c cache.Change[*appsv1.Deployment]) { r.queue.Add(c.Key) })
	own := dependents.Follow[*appsv1.Deployment, *appsv1.ReplicaSet]{
		Kind: gvk, Queue: r.queue, Owners: r.deployments,
		Selector: func(d *appsv1.Deployment) *metav1.LabelSelector { return d.Spec.Selector },
	}
	r.sets.OnChange(own.Changed)
	r.pods.OnChange(r.podChanged)
	return e.Loop(name, r.queue, e.Config.WorkersOf("deployment"), r.reconcile, r.deployments, r.sets, r.pods), nil
}

// podChanged matters to deployments that wait for the pods of the past to end.
func (r *reconciler) podChanged(c cache.Change[*corev1.Pod]) {
	if !c.HasOld || c.HasNew && !pod.Finished(c.New) {
		return
	}
	ref := metav1.GetControllerOfNoCopy(c.Old)
	if ref == nil || ref.Kind != "ReplicaSet" {
		return
	}
	s, ok := r.sets.Get(c.Old.Namespace, ref.Name)
	if !ok {
		return
	}
	ref = metav1.GetControllerOfNoCopy(s)
	if ref == nil || ref.Kind != gvk.Kind {
		return
	}
	d, ok := r.deployments.Get(s.Namespace, ref.Name)
	if ok && d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		r.queue.Add(cache.KeyOf(d))
	}
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	d, ok := r.deployments.Snapshot().Lookup(key)
	if !ok {
		write.Forget(key, r.own, r.written)
		return nil
	}
	if ok, err := write.Settled(ctx, r.env.Write, key, r.own, r.written); err != nil {
		return err
	} else if !ok {
		return control.Unsettled()
	}
	if everything(d) {
		r.env.Events.Event(d, control.Warning, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
		return nil
	}
	claim := owner.Sort(d, owner.Selector(d.Spec.Selector), owner.Candidates(r.sets.Snapshot(), replica.ReplicaSetsByOwner, d))
	if claim.Changes() {
		if err := owner.Apply(ctx, r.env.Write, r.written, d, owner.Kind{GroupVersionKind: gvk}, claim); err != nil {
			return err
		}
		return control.Unsettled()
	}
	return r.apply(ctx, d, plan(observed{d: d, sets: claim.Owned, running: r.running}, r.now()))
}

// everything reports whether the deployment would take all pods for its own.
func everything(d *appsv1.Deployment) bool {
	return d.Spec.Selector == nil || len(d.Spec.Selector.MatchLabels)+len(d.Spec.Selector.MatchExpressions) == 0
}

func (r *reconciler) running(s *appsv1.ReplicaSet) bool {
	for p := range r.pods.Snapshot().By(replica.PodsByOwner, string(s.UID)) {
		if !pod.Finished(p) {
			return true
		}
	}
	return false
}

func (r *reconciler) apply(ctx context.Context, d *appsv1.Deployment, p Plan) error {
	if p.Create != nil {
		again, err := r.create(ctx, d, &p)
		if err != nil && p.Deployment != nil {
			return errors.Join(err, dependents.WriteStatus(ctx, r.env, r.own, p.Deployment))
		}
		if err != nil || again {
			return err
		}
	}
	for _, c := range p.Update {
		if err := r.update(ctx, d, c); err != nil {
			return err
		}
	}
	for _, s := range p.Delete {
		err := client.Delete[*appsv1.ReplicaSet](ctx, r.env.Client, s.Namespace, s.Name, client.DeleteOptions{UID: s.UID})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete replica set %s/%s: %w", s.Namespace, s.Name, err)
		}
		r.written.Deleted(cache.KeyOf(d), s)
	}
	if p.Deployment != nil {
		if err := dependents.WriteStatus(ctx, r.env, r.own, p.Deployment); err != nil {
			return err
		}
	}
	return control.Later(p.Again)
}

func (r *reconciler) update(ctx context.Context, d *appsv1.Deployment, c Change) error {
	q, err := client.UpdateWrite(r.env.Client, c.Set, client.WriteOptions{OmitObject: true})
	if err != nil {
		return err
	}
	res := r.env.Write.Do(ctx, q)
	r.written.Wrote(cache.KeyOf(d), res)
	if res.Err != nil {
		return control.Retry(res.Err)
	}
	if to := size(c.Set); to != c.From {
		r.scaled(d, c.Set.Name, c.From, to)
	}
	return nil
}

func (r *reconciler) scaled(d *appsv1.Deployment, set string, from, to int32) {
	direction := "up"
	if to < from {
		direction = "down"
	}
	r.env.Events.Eventf(d, control.Normal, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", direction, set, from, to)
}

// create makes the new set. A name that is taken is either the set itself,
// made before and not yet seen, or a clash of hashes, which the collision count
// resolves; both want another look.
func (r *reconciler) create(ctx context.Context, d *appsv1.Deployment, p *Plan) (again bool, err error) {
	q, err := client.CreateWrite(r.env.Client, p.Create, client.WriteOptions{OmitObject: true})
	if err != nil {
		return false, err
	}
	res := r.env.Write.Do(ctx, q)
	r.written.Wrote(cache.KeyOf(d), res)
	switch {
	case res.Err == nil:
		if n := size(p.Create); n > 0 {
			r.scaled(d, p.Create.Name, 0, n)
		}
		return false, nil
	case apierrors.IsAlreadyExists(res.Err):
		return true, r.taken(ctx, d, p)
	case apierrors.HasStatusCause(res.Err, corev1.NamespaceTerminatingCause):
		return true, nil
	}
	message := fmt.Sprintf("Failed to create new replica set %q: %v", p.Create.Name, res.Err)
	if hasDeadline(d) && p.Deployment != nil {
		now := metav1.NewTime(r.now())
		setCondition(&p.Deployment.Status, appsv1.DeploymentCondition{
			Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, LastUpdateTime: now, LastTransitionTime: now, Reason: createFailed, Message: message,
		})
	}
	r.env.Events.Event(d, control.Warning, createFailed, message)
	return false, fmt.Errorf("create replica set %s/%s: %w", p.Create.Namespace, p.Create.Name, res.Err)
}

func (r *reconciler) taken(ctx context.Context, d *appsv1.Deployment, p *Plan) error {
	have, err := client.Get[*appsv1.ReplicaSet](ctx, r.env.Client, p.Create.Namespace, p.Create.Name)
	if err != nil {
		return fmt.Errorf("read the replica set that has the new one's name: %w", err)
	}
	if owner.Same(have, d) && sameTemplate(&d.Spec.Template, &have.Spec.Template) {
		return control.Unsettled()
	}
	next := d.DeepCopy()
	count := int32(1)
	if c := d.Status.CollisionCount; c != nil {
		count += *c
	}
	next.Status.CollisionCount = &count
	return dependents.WriteStatus(ctx, r.env, r.own, next)
}
