package vacprotection

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "volumeattributesclass-protection-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name:           name,
	ServiceAccount: name, EventSource: name,
	Reads:  []string{"volumeattributesclasses", "persistentvolumeclaims", "persistentvolumes"},
	Writes: []string{"volumeattributesclasses:metadata.finalizers (vac-protection)"},
	New:    newController,
}

func newController(e *control.Env) (control.Runner, error) {
	classes := replica.Of[*storagev1.VolumeAttributesClass](e.Replicas)
	claims, volumes := replica.Of[*corev1.PersistentVolumeClaim](e.Replicas), replica.Of[*corev1.PersistentVolume](e.Replicas)
	q := e.Queue("vacprotection")
	// A class that is being deleted may go once nothing is of it any more.
	left := func(names ...string) {
		for _, n := range names {
			if c, ok := classes.Get("", n); ok && c.DeletionTimestamp != nil {
				q.Add(cache.KeyOf(c))
			}
		}
	}
	classes.OnChange(func(c cache.Change[*storagev1.VolumeAttributesClass]) {
		if c.HasNew {
			q.Add(c.Key)
		}
	})
	claims.OnChange(func(c cache.Change[*corev1.PersistentVolumeClaim]) {
		if c.HasOld {
			left(classesOfClaim(c.Old)...)
		}
	})
	volumes.OnChange(func(c cache.Change[*corev1.PersistentVolume]) {
		if c.HasOld {
			left(classOfVolume(c.Old))
		}
	})
	return e.Loop(name, q, 1, func(ctx context.Context, key cache.Key) error {
		c, ok := classes.Snapshot().Lookup(key)
		if !ok {
			return nil
		}
		used, err := uses(ctx, e.Client, c)
		if err != nil {
			return fmt.Errorf("look for what is of class %s: %w", c.Name, err)
		}
		return apply(ctx, e.Client, c, used)
	}, classes, claims, volumes), nil
}

// uses asks the API: a replica may not show a claim that was just made.
func uses(ctx context.Context, api *client.Client, c *storagev1.VolumeAttributesClass) (bool, error) {
	if c.DeletionTimestamp == nil || !slices.Contains(c.Finalizers, finalizer) {
		return false, nil
	}
	claims, _, err := client.List[*corev1.PersistentVolumeClaim](ctx, api, client.Selection{})
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(claims, func(p *corev1.PersistentVolumeClaim) bool { return slices.Contains(classesOfClaim(p), c.Name) }) {
		return true, nil
	}
	volumes, _, err := client.List[*corev1.PersistentVolume](ctx, api, client.Selection{})
	return slices.ContainsFunc(volumes, func(v *corev1.PersistentVolume) bool { return classOfVolume(v) == c.Name }), err
}

func apply(ctx context.Context, api *client.Client, c *storagev1.VolumeAttributesClass, used bool) error {
	finalizers, changed := plan(c, used)
	if !changed {
		return nil
	}
	c = c.DeepCopy()
	c.Finalizers = finalizers
	_, err := client.Update(ctx, api, c, client.WriteOptions{OmitObject: true})
	switch {
	case err == nil || apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return control.Retry(err)
	}
	return fmt.Errorf("finalizers of class %s: %w", c.Name, err)
}
