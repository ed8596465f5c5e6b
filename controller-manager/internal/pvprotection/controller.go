package pvprotection

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "persistentvolume-protection-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "pv-protection",
	ServiceAccount: "pv-protection-controller", EventSource: name,
	Reads:  []string{"persistentvolumes"},
	Writes: []string{"persistentvolumes:metadata.finalizers (pv-protection)"},
	New:    newController,
}

func newController(e *control.Env) (control.Runner, error) {
	volumes := replica.Of[*corev1.PersistentVolume](e.Replicas)
	q := e.Queue("pvprotection")
	volumes.OnChange(func(c cache.Change[*corev1.PersistentVolume]) {
		if c.HasNew {
			q.Add(c.Key)
		}
	})
	return e.Loop(name, q, 1, func(ctx context.Context, key cache.Key) error {
		v, ok := volumes.Snapshot().Lookup(key)
		if !ok {
			return nil
		}
		finalizers, changed := plan(v)
		if !changed {
			return nil
		}
		v = v.DeepCopy()
		v.Finalizers = finalizers
		_, err := client.Update(ctx, e.Client, v, client.WriteOptions{OmitObject: true})
		switch {
		case err == nil || apierrors.IsNotFound(err):
			return nil
		case apierrors.IsConflict(err):
			return control.Retry(err)
		}
		return fmt.Errorf("finalizers of volume %s: %w", v.Name, err)
	}, volumes), nil
}
