package ttlafterfinished

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "ttl-after-finished-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "ttl-after-finished",
	ServiceAccount: name, EventSource: name,
	Reads:  []string{"jobs"},
	Writes: []string{"jobs"},
	New:    newController,
}

func newController(e *control.Env) (control.Runner, error) {
	jobs := replica.Of[*batchv1.Job](e.Replicas)
	q := e.Queue("ttl_jobs_to_delete")
	jobs.OnChange(func(c cache.Change[*batchv1.Job]) {
		if c.HasNew && c.New.Spec.TTLSecondsAfterFinished != nil {
			q.Add(c.Key)
		}
	})
	return e.Loop(name, q, e.Config.WorkersOf("ttl-after-finished"), func(ctx context.Context, key cache.Key) error {
		j, ok := jobs.Snapshot().Lookup(key)
		if !ok {
			return nil
		}
		if keep := plan(j, time.Now()); keep != 0 {
			return control.Later(keep)
		}
		return remove(ctx, e, key)
	}, jobs), nil
}

// remove looks at the job itself once more: its time may have been extended.
func remove(ctx context.Context, e *control.Env, key cache.Key) error {
	j, err := client.Get[*batchv1.Job](ctx, e.Client, key.Namespace, key.Name)
	if err == nil {
		if keep := plan(j, time.Now()); keep != 0 {
			return control.Later(keep)
		}
		err = client.Delete[*batchv1.Job](ctx, e.Client, key.Namespace, key.Name, client.DeleteOptions{UID: j.UID, Propagation: metav1.DeletePropagationForeground})
	}
	switch {
	case err == nil || apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return control.Retry(err)
	}
	return fmt.Errorf("delete job %s, which has finished: %w", key, err)
}
