package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/controller"
	"xebec.dev/client/daemon"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/dependents"
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
	own := dependents.Follow[*batchv1.Job, *corev1.Pod]{
		Kind: gvk, Queue: r.queue, Owners: r.jobs,
		Selector: func(j *batchv1.Job) *metav1.LabelSelector { return j.Spec.Selector },
	}
	r.pods.OnChange(own.Changed)
	r.pods.OnChange(r.strayed)
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

// strayed queues pods that hold the tracking finalizer for a job that is gone.
func (r *reconciler) strayed(c cache.Change[*corev1.Pod]) {
	if !c.HasNew || !tracked(c.New) {
		return
	}
	if ref := metav1.GetControllerOfNoCopy(c.New); ref != nil {
		if ref.Kind != gvk.Kind {
			return
		}
		if j, ok := r.jobs.Get(c.New.Namespace, ref.Name); ok && j.UID == ref.UID {
			return
		}
	}
	r.orphans.Add(c.Key)
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
		write.Forget(key, r.own, r.written)
		return nil
	}
	if by := j.Spec.ManagedBy; by != nil && *by != batchv1.JobControllerName {
		return nil
	}
	if ok, err := write.Settled(ctx, r.env.Write, key, r.own, r.written); err != nil {
		return err
	} else if !ok {
		return control.Unsettled()
	}
	claim := owner.Sort(j, owner.Selector(j.Spec.Selector), owner.Candidates(r.pods.Snapshot(), replica.PodsByOwner, j))
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
	own := dependents.Pods{Env: r.env, Ledger: r.written}
	failed := errors.Join(own.Delete(ctx, j, p.Delete), own.Create(ctx, j, wanted(j, p.Create, pods)))
	if !sameStatus(&j.Status, &p.Status) {
		now := j.DeepCopy()
		now.Status = p.Status
		if err := dependents.WriteStatus(ctx, r.env, r.own, now); err != nil {
			return errors.Join(failed, err)
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
