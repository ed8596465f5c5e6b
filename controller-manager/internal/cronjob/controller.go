package cronjob

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
	"xebec.dev/controller-manager/internal/write"
)

const name = "cronjob-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "cronjob",
	ServiceAccount: name, EventSource: name,
	Reads:  []string{"cronjobs", "jobs"},
	Writes: []string{"cronjobs:status", "jobs"},
	New:    newController,
}

type reconciler struct {
	env    *control.Env
	crons  *cache.Replica[*batchv1.CronJob]
	jobs   *cache.Replica[*batchv1.Job]
	ledger *write.Ledger[*batchv1.Job]
	// own waits for what was written to the status: a job that is not yet in the
	// list there would be a stranger.
	own *write.Ledger[*batchv1.CronJob]
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{env: e, crons: replica.Of[*batchv1.CronJob](e.Replicas), jobs: replica.Of[*batchv1.Job](e.Replicas)}
	r.ledger, r.own = write.NewLedger(r.jobs), write.NewLedger(r.crons)
	q := e.Queue("cronjob")
	r.crons.OnChange(func(c cache.Change[*batchv1.CronJob]) { q.Add(c.Key) })
	r.jobs.OnChange(func(c cache.Change[*batchv1.Job]) {
		j := c.New
		if !c.HasNew {
			j = c.Old
		}
		if ref := metav1.GetControllerOfNoCopy(j); ref != nil && ref.Kind == "CronJob" {
			q.Add(cache.Key{Namespace: j.Namespace, Name: ref.Name})
		}
	})
	return e.Loop(name, q, e.Config.WorkersOf("cron-job"), r.reconcile, r.crons, r.jobs), nil
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	c, ok := r.crons.Snapshot().Lookup(key)
	if !ok {
		r.ledger.Forget(key)
		r.own.Forget(key)
		return nil
	}
	if settled, err := write.Settled(ctx, r.env.Write, key, r.own, r.ledger); err != nil {
		return err
	} else if !settled {
		return control.Unsettled()
	}
	now := time.Now()
	p := plan(c, slices.Collect(r.jobs.Snapshot().By(replica.JobsByOwner, string(c.UID))), now)
	for _, n := range p.Notes {
		r.env.Events.Event(c, n.kind, n.reason, n.message)
	}
	for _, j := range p.Delete {
		if err := r.remove(ctx, key, c, j); err != nil {
			return err
		}
	}
	if !p.At.IsZero() {
		if err := r.create(ctx, key, c, p); err != nil {
			return err
		}
	}
	if !equality.Semantic.DeepEqual(p.Status, c.Status) {
		now := c.DeepCopy()
		now.Status = p.Status
		w, err := client.UpdateWrite(r.env.Client, now, client.WriteOptions{Subresource: "status", OmitObject: true})
		if err != nil {
			return err
		}
		res := r.env.Write.Do(ctx, w)
		r.own.Wrote(key, res)
		if res.Err != nil {
			if apierrors.IsNotFound(res.Err) {
				return nil
			}
			return control.Retry(res.Err)
		}
	}
	if p.Look.IsZero() {
		return nil
	}
	return control.Later(max(time.Until(p.Look), time.Millisecond))
}

func (r *reconciler) remove(ctx context.Context, key cache.Key, c *batchv1.CronJob, j *batchv1.Job) error {
	err := client.Delete[*batchv1.Job](ctx, r.env.Client, j.Namespace, j.Name, client.DeleteOptions{UID: j.UID, Propagation: metav1.DeletePropagationBackground})
	if err != nil && !apierrors.IsNotFound(err) {
		r.env.Events.Eventf(c, control.Warning, "FailedDelete", "Deleted job: %v", err)
		return control.Retry(fmt.Errorf("delete job %s/%s of a cron job: %w", j.Namespace, j.Name, err))
	}
	r.ledger.Deleted(key, j)
	r.env.Events.Eventf(c, control.Normal, "SuccessfulDelete", "Deleted job %v", j.Name)
	return nil
}

// create makes the job of a moment, and has the status say so. One that is
// there already was made by an earlier attempt.
func (r *reconciler) create(ctx context.Context, key cache.Key, c *batchv1.CronJob, p *Plan) error {
	w, err := client.CreateWrite(r.env.Client, newJob(c, p.At))
	if err != nil {
		return err
	}
	res := r.env.Write.Do(ctx, w)
	r.ledger.Wrote(key, res)
	switch {
	case apierrors.IsAlreadyExists(res.Err):
	case apierrors.HasStatusCause(res.Err, "NamespaceTerminating"):
		return nil
	case res.Err != nil:
		r.env.Events.Eventf(c, control.Warning, "FailedCreate", "Error creating job: %v", res.Err)
		return res.Err
	default:
		r.env.Events.Eventf(c, control.Normal, "SuccessfulCreate", "Created job %v", jobName(c, p.At))
	}
	p.Status.LastScheduleTime = &metav1.Time{Time: p.At}
	if res.Err != nil {
		return nil // the replica will have it
	}
	j, err := client.Get[*batchv1.Job](ctx, r.env.Client, c.Namespace, jobName(c, p.At))
	if err == nil {
		p.Status.Active = append(p.Status.Active, reference(j))
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
