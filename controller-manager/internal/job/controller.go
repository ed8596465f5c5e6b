package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/controller"
	"xebec.dev/client/daemon"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/owner"
	"xebec.dev/controller-manager/internal/replica"
	"xebec.dev/controller-manager/internal/write"
)

const name = "job-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "job",
	ServiceAccount: "job-controller", EventSource: "job-controller",
	Reads:  []string{"jobs", "pods"},
	Writes: []string{"pods", "pods:metadata.finalizers (job-tracking)", "jobs:status"},
	New:    newController,
}

type reconciler struct {
	env     *control.Env
	jobs    *cache.Replica[*batchv1.Job]
	pods    *cache.Replica[*corev1.Pod]
	own     *write.Ledger[*batchv1.Job]
	written *write.Ledger[*corev1.Pod]
	queue   *workqueue.Queue[cache.Key]
	// orphans are pods that no job will ever count.
	orphans *workqueue.Queue[cache.Key]
	now     func() time.Time
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{
		env: e, jobs: replica.Of[*batchv1.Job](e.Replicas), pods: replica.Of[*corev1.Pod](e.Replicas),
		queue: e.Queue("job"), orphans: e.Queue("job_orphan_pod"), now: time.Now,
	}
	r.own, r.written = write.NewLedger(r.jobs), write.NewLedger(r.pods)
	r.jobs.OnChange(func(c cache.Change[*batchv1.Job]) {
		r.queue.Add(c.Key)
		if !c.HasNew {
			for p := range r.pods.Snapshot().By(replica.PodsByOwner, string(c.Old.UID)) {
				r.orphans.Add(cache.KeyOf(p))
			}
		}
	})
	r.pods.OnChange(r.podChanged)
	loop := e.Loop(name, r.queue, e.Config.WorkersOf("job"), r.reconcile)
	orphans := e.Loop(name, r.orphans, 1, r.releaseOrphan)
	return control.RunFunc(func(ctx context.Context) error {
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		return daemon.Run(ctx, loop.Run, orphans.Run)
	}), nil
}

// catchUp waits until the pods are as new as the jobs: a job's status that
// counts a pod is written after the pod was released, and must not be seen
// with the pod as it was before.
func (r *reconciler) catchUp(ctx context.Context) error {
	if err := cache.WaitForSync(ctx, r.jobs, r.pods); err != nil {
		return err
	}
	if r.jobs.Snapshot().Len() == 0 {
		return nil
	}
	return r.pods.WaitFor(ctx, r.jobs.Snapshot().Revision())
}

func (r *reconciler) queueOwner(p *corev1.Pod) {
	ref := metav1.GetControllerOfNoCopy(p)
	if ref == nil || ref.Kind != gvk.Kind {
		return
	}
	key := cache.Key{Namespace: p.Namespace, Name: ref.Name}
	r.queue.Add(key)
	if j, ok := r.jobs.Snapshot().Lookup(key); tracked(p) && (!ok || j.UID != ref.UID) {
		r.orphans.Add(cache.KeyOf(p))
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
	if tracked(c.New) {
		r.orphans.Add(c.Key)
	}
	for j := range r.jobs.Snapshot().In(c.New.Namespace) {
		if owner.Selector(j.Spec.Selector).Matches(labels.Set(c.New.Labels)) {
			r.queue.Add(cache.KeyOf(j))
		}
	}
}

// orphanPause lets a job that is new be seen before its pod is taken for an
// orphan.
const orphanPause = 2 * time.Second

// releaseOrphan lets go of a pod whose job is gone.
func (r *reconciler) releaseOrphan(ctx context.Context, key cache.Key) error {
	p, ok := r.pods.Snapshot().Lookup(key)
	if !ok || !tracked(p) {
		return nil
	}
	if ref := metav1.GetControllerOfNoCopy(p); ref != nil && ref.Kind == gvk.Kind {
		if j, ok := r.jobs.Get(p.Namespace, ref.Name); ok && j.UID == ref.UID {
			return nil
		}
		live, err := client.Get[*batchv1.Job](ctx, r.env.Client, p.Namespace, ref.Name, client.ReadOptions{MetadataOnly: true})
		switch {
		case err == nil && live.UID == ref.UID:
			return controller.After(orphanPause)
		case err != nil && !apierrors.IsNotFound(err):
			return fmt.Errorf("read the job of pod %s: %w", key, err)
		}
	}
	return write.FirstError(r.release(ctx, cache.Key{}, []*corev1.Pod{p}))
}

// release takes the job's finalizer from pods. Those that are gone are no
// error. The ledger is kept under the job's key when there is one.
func (r *reconciler) release(ctx context.Context, key cache.Key, pods []*corev1.Pod) []client.Result {
	writes := make([]*client.Write, 0, len(pods))
	for _, p := range pods {
		q, err := owner.UnfinalizeWrite(r.env.Client, p, batchv1.JobTrackingFinalizer)
		if err != nil {
			return []client.Result{{Err: err}}
		}
		writes = append(writes, q)
	}
	results := r.env.Write.All(ctx, writes)
	for i := range results {
		if err := results[i].Err; apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsConflict(err) {
			results[i].Err = nil // gone, and another has its name
			if key.Name != "" {
				r.written.Deleted(key, pods[i])
			}
		}
	}
	if key.Name != "" {
		r.written.Wrote(key, results...)
	}
	return results
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	j, ok := r.jobs.Snapshot().Lookup(key)
	if !ok {
		r.own.Forget(key)
		r.written.Forget(key)
		return nil
	}
	if by := j.Spec.ManagedBy; by != nil && *by != batchv1.JobControllerName {
		return nil
	}
	for _, settled := range []func(context.Context, *write.Writer, cache.Key) (bool, error){r.own.Settled, r.written.Settled} {
		if ok, err := settled(ctx, r.env.Write, key); err != nil {
			return err
		} else if !ok {
			return control.Unsettled()
		}
	}
	snapshot := r.pods.Snapshot()
	candidates := slices.Collect(snapshot.By(replica.PodsByOwner, string(j.UID)))
	candidates = slices.AppendSeq(candidates, snapshot.By(replica.PodsByOwner, replica.Orphans(j.Namespace)))
	claim := owner.Sort(j, owner.Selector(j.Spec.Selector), candidates)
	if claim.Changes() && !finished(&j.Status) {
		if err := owner.Apply(ctx, r.env.Write, r.written, j, owner.Kind{GroupVersionKind: gvk, Finalizers: []string{batchv1.JobTrackingFinalizer}}, claim); err != nil {
			return err
		}
		return control.Unsettled()
	}
	return r.apply(ctx, j, plan(j, claim.Owned, r.now()), claim.Owned)
}

func (r *reconciler) apply(ctx context.Context, j *batchv1.Job, p Plan, pods []*corev1.Pod) error {
	key := cache.KeyOf(j)
	if p.Uncount {
		var held []*corev1.Pod
		for _, v := range p.Delete {
			if tracked(v) {
				held = append(held, v)
			}
		}
		if err := write.FirstError(r.release(ctx, key, held)); err != nil {
			return err
		}
	}
	failed := errors.Join(r.delete(ctx, j, p.Delete), r.create(ctx, j, p.Create, pods))
	if !sameStatus(&j.Status, &p.Status) {
		now := j.DeepCopy()
		now.Status = p.Status
		q, err := client.UpdateWrite(r.env.Client, now, client.WriteOptions{Subresource: "status", OmitObject: true})
		if err != nil {
			return err
		}
		res := r.env.Write.Do(ctx, q)
		r.own.Wrote(key, res)
		if res.Err != nil {
			if apierrors.IsNotFound(res.Err) {
				return nil
			}
			return errors.Join(failed, control.Retry(res.Err))
		}
	}
	for _, n := range p.Notes {
		r.env.Events.Event(j, n.Type, n.Reason, n.Message)
	}
	if err := write.FirstError(r.release(ctx, key, p.Release)); err != nil {
		return errors.Join(failed, err)
	}
	if failed != nil {
		return failed
	}
	return control.Later(p.Again)
}

func (r *reconciler) create(ctx context.Context, j *batchv1.Job, indexes []int, pods []*corev1.Pod) error {
	writes := make([]*client.Write, len(indexes))
	for i, n := range indexes {
		q, err := client.CreateWrite(r.env.Client, newPod(j, n, pods), client.WriteOptions{OmitObject: true})
		if err != nil {
			return fmt.Errorf("pod of job %s: %w", j.Name, err)
		}
		writes[i] = q
	}
	results := r.env.Write.Slow(ctx, writes)
	r.written.Wrote(cache.KeyOf(j), results...)
	var first error
	for i := range results {
		switch err := results[i].Err; {
		case err == nil:
			r.env.Events.Eventf(j, control.Normal, "SuccessfulCreate", "Created pod: %v", results[i].Response.GetName())
		case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			return nil
		default:
			r.env.Events.Eventf(j, control.Warning, "FailedCreate", "Error creating: %v", err)
			if first == nil {
				first = err
			}
		}
	}
	return first
}

func (r *reconciler) delete(ctx context.Context, j *batchv1.Job, pods []*corev1.Pod) error {
	writes := make([]*client.Write, len(pods))
	for i, p := range pods {
		q, err := client.DeleteWrite[*corev1.Pod](r.env.Client, p.Namespace, p.Name, client.DeleteOptions{UID: p.UID})
		if err != nil {
			return err
		}
		writes[i] = q
	}
	key := cache.KeyOf(j)
	var first error
	for i, res := range r.env.Write.All(ctx, writes) {
		switch err := res.Err; {
		case err == nil:
			r.written.Deleted(key, pods[i])
			r.env.Events.Eventf(j, control.Normal, "SuccessfulDelete", "Deleted pod: %v", pods[i].Name)
		case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
			r.written.Deleted(key, pods[i])
		default:
			if errors.Is(err, client.ErrOutcomeUnknown) {
				r.written.Wrote(key, res)
			}
			r.env.Events.Eventf(j, control.Warning, "FailedDelete", "Error deleting: %v", err)
			if first == nil {
				first = err
			}
		}
	}
	return first
}
