package pvcprotection

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "persistentvolumeclaim-protection-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "pvc-protection",
	ServiceAccount: "pvc-protection-controller", EventSource: name,
	Reads:  []string{"persistentvolumeclaims", "pods"},
	Writes: []string{"persistentvolumeclaims:metadata.finalizers (pvc-protection)"},
	New:    newController,
}

func newController(e *control.Env) (control.Runner, error) {
	claims, pods := replica.Of[*corev1.PersistentVolumeClaim](e.Replicas), replica.Of[*corev1.Pod](e.Replicas)
	q := e.Queue("pvcprotection")
	claims.OnChange(func(c cache.Change[*corev1.PersistentVolumeClaim]) {
		if c.HasNew {
			q.Add(c.Key)
		}
	})
	pods.OnChange(func(ch cache.Change[*corev1.Pod]) {
		if !ch.HasOld {
			return
		}
		for _, text := range replica.PodsByClaim.Values(ch.Old) {
			c, ok := claims.Get(ch.Key.Namespace, text[len(ch.Key.Namespace)+1:])
			if ok && c.DeletionTimestamp != nil {
				q.Add(cache.KeyOf(c))
			}
		}
	})
	return e.Loop(name, q, 1, func(ctx context.Context, key cache.Key) error {
		c, ok := claims.Snapshot().Lookup(key)
		if !ok {
			return nil
		}
		p := plan(c, slices.Collect(pods.Snapshot().By(replica.PodsByClaim, key.String())))
		if p.Release {
			// The replica may not show a pod that was just bound.
			live, _, err := client.List[*corev1.Pod](ctx, e.Client, client.Selection{Namespace: key.Namespace})
			if err != nil {
				return fmt.Errorf("look for pods that use claim %s: %w", key, err)
			}
			p = plan(c, live)
		}
		return apply(ctx, e, c, p)
	}, claims, pods), nil
}

func apply(ctx context.Context, e *control.Env, c *corev1.PersistentVolumeClaim, p Plan) error {
	if !p.Add && !p.Release {
		return nil
	}
	c = c.DeepCopy()
	if p.Add {
		c.Finalizers = append(c.Finalizers, finalizer)
	} else {
		c.Finalizers = slices.DeleteFunc(c.Finalizers, func(f string) bool { return f == finalizer })
	}
	_, err := client.Update(ctx, e.Client, c, client.WriteOptions{OmitObject: true})
	switch {
	case err == nil || apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return control.Retry(err)
	}
	return fmt.Errorf("finalizers of claim %s: %w", cache.KeyOf(c), err)
}
