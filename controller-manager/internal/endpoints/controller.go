package endpoints

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/endpointslice"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "endpoints-controller"

// endpointsPause gives the replica time to catch up.
const endpointsPause = 20 * time.Millisecond

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "endpoint",
	ServiceAccount: "endpoint-controller", EventSource: "endpoint-controller",
	Reads:  []string{"services", "pods", "endpoints"},
	Writes: []string{"endpoints", "endpoints:subsets"},
	New:    newController,
}

type reconciler struct {
	env       *control.Env
	services  *cache.Replica[*corev1.Service]
	pods      *cache.Replica[*corev1.Pod]
	endpoints *cache.Replica[*corev1.Endpoints]
	triggers  *endpointslice.Triggers
	queue     *workqueue.Queue[cache.Key]
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{
		env: e, services: replica.Of[*corev1.Service](e.Replicas), pods: replica.Of[*corev1.Pod](e.Replicas),
		endpoints: replica.Of[*corev1.Endpoints](e.Replicas), queue: e.Queue("endpoint"), triggers: endpointslice.NewTriggers(),
	}
	r.services.OnChange(func(c cache.Change[*corev1.Service]) { r.queue.Add(c.Key) })
	r.pods.OnChange(func(c cache.Change[*corev1.Pod]) { endpointslice.OfPod(r.services.Snapshot(), c, r.queue.Add) })
	r.endpoints.OnChange(func(c cache.Change[*corev1.Endpoints]) { r.queue.Add(c.Key) })
	return e.Loop(name, r.queue, e.Config.WorkersOf("endpoint"), r.reconcile, r.services, r.pods, r.endpoints), nil
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	svc, ok := r.services.Snapshot().Lookup(key)
	have, exists := r.endpoints.Snapshot().Lookup(key)
	if !ok {
		r.triggers.Forget(key)
		return r.remove(ctx, have, exists)
	}
	if !endpointslice.Kept(svc) || svc.DeletionTimestamp != nil {
		return nil
	}
	pods := endpointslice.PodsOf(r.pods.Snapshot(), svc)
	began, now := r.triggers.Since(svc, pods, exists)
	p := plan(svc, pods, have, began)
	var err error
	switch {
	case p.Create != nil:
		_, err = client.Create(ctx, r.env.Client, p.Create, client.WriteOptions{OmitObject: true})
	case p.Update != nil:
		_, err = client.Update(ctx, r.env.Client, p.Update, client.WriteOptions{OmitObject: true})
	}
	switch {
	case err == nil:
		r.triggers.Tell(key, now)
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err):
		return control.Later(endpointsPause) // the replica is behind
	}
	r.env.Events.Eventf(svc, control.Warning, "FailedToUpdateEndpoint", "Failed to update endpoint %v/%v: %v", svc.Namespace, svc.Name, err)
	return fmt.Errorf("endpoints %s: %w", key, err)
}

// remove deletes the object of a service that is gone, if it was made here or
// for a service: leader election of old keeps objects of its own.
func (r *reconciler) remove(ctx context.Context, have *corev1.Endpoints, exists bool) error {
	if !exists || have.Annotations["control-plane.alpha.kubernetes.io/leader"] != "" || have.Labels[managedBy] != manager {
		return nil
	}
	err := client.Delete[*corev1.Endpoints](ctx, r.env.Client, have.Namespace, have.Name, client.DeleteOptions{UID: have.UID})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
