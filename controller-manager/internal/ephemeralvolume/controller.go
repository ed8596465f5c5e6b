package ephemeralvolume

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "ephemeral-volume-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "ephemeral-volume",
	ServiceAccount: "ephemeral-volume-controller", EventSource: "ephemeral_volume",
	Reads:  []string{"pods", "persistentvolumeclaims"},
	Writes: []string{"persistentvolumeclaims"},
	New:    newController,
}

type reconciler struct {
	env    *control.Env
	pods   *cache.Replica[*corev1.Pod]
	claims *cache.Replica[*corev1.PersistentVolumeClaim]
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{env: e, pods: replica.Of[*corev1.Pod](e.Replicas), claims: replica.Of[*corev1.PersistentVolumeClaim](e.Replicas)}
	q := e.Queue("ephemeral_volume")
	r.pods.OnChange(func(c cache.Change[*corev1.Pod]) {
		if c.HasNew && !c.HasOld && hasEphemeral(c.New) {
			q.Add(c.Key)
		}
	})
	r.claims.OnChange(func(c cache.Change[*corev1.PersistentVolumeClaim]) {
		if c.HasNew {
			return
		}
		for p := range r.pods.Snapshot().By(replica.PodsByClaim, c.Key.String()) {
			if hasEphemeral(p) {
				q.Add(cache.KeyOf(p))
			}
		}
	})
	return e.Loop(name, q, e.Config.WorkersOf("ephemeralvolume"), r.reconcile, r.pods, r.claims), nil
}

func hasEphemeral(p *corev1.Pod) bool {
	for i := range p.Spec.Volumes {
		if p.Spec.Volumes[i].Ephemeral != nil {
			return true
		}
	}
	return false
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	p, ok := r.pods.Snapshot().Lookup(key)
	if !ok {
		return nil
	}
	create, foreign := plan(p, func(name string) *corev1.PersistentVolumeClaim {
		c, _ := r.claims.Get(p.Namespace, name)
		return c
	})
	for _, c := range create {
		_, err := client.Create(ctx, r.env.Client, c)
		if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			r.env.Events.Eventf(p, control.Warning, "FailedBinding", "ephemeral volume: create PVC %s: %v", c.Name, err)
			return fmt.Errorf("claim %s/%s: %w", c.Namespace, c.Name, err)
		}
	}
	if len(foreign) > 0 {
		err := fmt.Errorf("PVC %s was not created for pod %s (pod is not owner)", strings.Join(foreign, ", "), key)
		r.env.Events.Event(p, control.Warning, "FailedBinding", "ephemeral volume: "+err.Error())
		return err
	}
	return nil
}
