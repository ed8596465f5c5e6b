package pvbinder

import (
	"context"
	"fmt"
	"os"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "persistentvolume-binder-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "persistentvolume-binder",
	ServiceAccount: "persistent-volume-binder", EventSource: "persistentvolume-controller",
	Reads: []string{"persistentvolumes", "persistentvolumeclaims", "storageclasses", "pods"},
	Writes: []string{"persistentvolumes", "persistentvolumes:spec.claimRef", "persistentvolumes:status", "persistentvolumeclaims:spec.volumeName",
		"persistentvolumeclaims:spec.storageClassName (default)", "persistentvolumeclaims:metadata.annotations (pv.kubernetes.io, storage-provisioner)", "persistentvolumeclaims:status"},
	New: newController,
}

type reconciler struct {
	env     *control.Env
	queue   *workqueue.Queue[cache.Key]
	volumes *cache.Replica[*corev1.PersistentVolume]
	claims  *cache.Replica[*corev1.PersistentVolumeClaim]
	classes *cache.Replica[*storagev1.StorageClass]
	pods    *cache.Replica[*corev1.Pod]
}

func newController(e *control.Env) (control.Runner, error) {
	s := e.Replicas
	r := &reconciler{
		env: e, queue: e.Queue("persistentvolumes"), volumes: replica.Of[*corev1.PersistentVolume](s), claims: replica.Of[*corev1.PersistentVolumeClaim](s),
		classes: replica.Of[*storagev1.StorageClass](s), pods: replica.Of[*corev1.Pod](s),
	}
	r.claims.OnChange(func(c cache.Change[*corev1.PersistentVolumeClaim]) {
		if c.HasNew {
			r.queue.Add(c.Key)
		}
		if c.HasOld && c.Old.Spec.VolumeName != "" {
			r.queue.Add(cache.Key{Name: c.Old.Spec.VolumeName})
		}
		if c.HasNew && c.New.Spec.VolumeName != "" {
			r.queue.Add(cache.Key{Name: c.New.Spec.VolumeName})
		}
	})
	r.volumes.OnChange(func(c cache.Change[*corev1.PersistentVolume]) {
		if c.HasNew {
			r.queue.Add(c.Key)
		}
		for _, v := range []*corev1.PersistentVolume{c.Old, c.New} {
			if v != nil && v.Spec.ClaimRef != nil {
				r.queue.Add(cache.Key{Namespace: v.Spec.ClaimRef.Namespace, Name: v.Spec.ClaimRef.Name})
			}
		}
		if c.HasNew && c.New.Status.Phase == corev1.VolumeAvailable && (!c.HasOld || c.Old.Status.Phase != corev1.VolumeAvailable) {
			r.unbound()
		}
	})
	r.classes.OnChange(func(cache.Change[*storagev1.StorageClass]) { r.unbound() })
	// One worker: two claims never choose the same volume.
	return e.Loop(name, r.queue, 1, r.reconcile, r.volumes, r.claims, r.classes, r.pods), nil
}

// unbound claims may find something now.
func (r *reconciler) unbound() {
	for c := range r.claims.Snapshot().All() {
		if c.Annotations[bindCompleted] == "" {
			r.queue.Add(cache.KeyOf(c))
		}
	}
}

// reconcile takes claims, which have a namespace, and volumes, which have none.
func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	var err error
	if key.Namespace == "" {
		err = r.volume(ctx, key)
	} else {
		err = r.claim(ctx, key)
	}
	switch {
	case err == nil || apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return control.Retry(err)
	}
	return err
}

func (r *reconciler) view(c *corev1.PersistentVolumeClaim) view {
	volumes, classes := r.volumes.Snapshot(), r.classes.Snapshot()
	w := view{
		claim: c, volumes: volumes.All(), classes: classes.All(), dynamic: r.env.Config.DynamicProvisioning,
		volume: func(name string) (*corev1.PersistentVolume, bool) { return volumes.Get("", name) },
		class:  func(name string) (*storagev1.StorageClass, bool) { return classes.Get("", name) },
	}
	for p := range r.pods.Snapshot().By(replica.PodsByClaim, cache.KeyOf(c).String()) {
		if p.Spec.NodeName == "" && p.DeletionTimestamp == nil {
			w.consumer = p.Name
			break
		}
	}
	return w
}

func (r *reconciler) claim(ctx context.Context, key cache.Key) error {
	c, ok := r.claims.Snapshot().Lookup(key)
	if !ok {
		return nil
	}
	p := planClaim(r.view(c))
	if p.Status != nil && p.Status.Phase == corev1.ClaimLost && c.Spec.VolumeName != "" {
		// That is final for the pods that use it: ask the server.
		if _, err := client.Get[*corev1.PersistentVolume](ctx, r.env.Client, "", c.Spec.VolumeName); err == nil && p.Note.Reason == "ClaimLost" {
			return control.Unsettled()
		} else if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("look for volume %s of claim %s: %w", c.Spec.VolumeName, key, err)
		}
	}
	if n := p.Note; n != nil {
		r.env.Events.Event(c, n.Type, n.Reason, n.Text)
	}
	if p.Volume != nil {
		r.env.Log.Debug("claim binds", zap.String("claim", key.String()), zap.String("volume", p.Volume.Name))
		if _, err := client.Update(ctx, r.env.Client, p.Volume); err != nil {
			return fmt.Errorf("bind volume %s to claim %s: %w", p.Volume.Name, key, err)
		}
	}
	if p.Claim != nil {
		now, err := client.Update(ctx, r.env.Client, p.Claim)
		if err != nil {
			return fmt.Errorf("update claim %s: %w", key, err)
		}
		c = now
	}
	if p.Status == nil {
		return nil
	}
	c = c.DeepCopy()
	c.Status = *p.Status
	if _, err := client.UpdateStatus(ctx, r.env.Client, c); err != nil {
		return fmt.Errorf("write the status of claim %s: %w", key, err)
	}
	return nil
}

func (r *reconciler) volume(ctx context.Context, key cache.Key) error {
	v, ok := r.volumes.Snapshot().Lookup(key)
	if !ok {
		return nil
	}
	var claim *corev1.PersistentVolumeClaim
	if ref := v.Spec.ClaimRef; ref != nil {
		claim, ok = r.claims.Get(ref.Namespace, ref.Name)
		if !ok || claim.UID != ref.UID {
			// Data may be deleted for this: ask the server.
			live, err := client.Get[*corev1.PersistentVolumeClaim](ctx, r.env.Client, ref.Namespace, ref.Name)
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("look for claim %s/%s of volume %s: %w", ref.Namespace, ref.Name, v.Name, err)
			}
			claim = nil
			if err == nil {
				claim = live
			}
		}
	}
	p := planVolume(v, claim)
	v = v.DeepCopy()
	if p.Unbind {
		v.Spec.ClaimRef = nil
		delete(v.Annotations, boundByUs)
		_, err := client.Update(ctx, r.env.Client, v)
		return err
	}
	if p.Remove != "" {
		return r.remove(ctx, v, p.Remove)
	}
	if p.Phase == "" {
		return nil
	}
	if p.Message != "" {
		r.env.Events.Event(v, control.Warning, p.Reason, p.Message)
	}
	if v.Status.Phase != p.Phase {
		now := metav1.Now()
		v.Status.LastPhaseTransitionTime = &now
	}
	// The reason goes into the event alone.
	v.Status.Phase, v.Status.Message = p.Phase, p.Message
	_, err := client.UpdateStatus(ctx, r.env.Client, v, client.WriteOptions{OmitObject: true})
	return err
}

// remove a volume that is a directory below /tmp of this host, for tests of
// clusters of one node. No link leads it out of there.
func (r *reconciler) remove(ctx context.Context, v *corev1.PersistentVolume, below string) error {
	tmp, err := os.OpenRoot("/tmp")
	if err == nil {
		err = tmp.RemoveAll(below)
		_ = tmp.Close() // nothing is written through it
	}
	if err != nil {
		r.env.Events.Event(v, control.Warning, "VolumeFailedDelete", err.Error())
		return fmt.Errorf("remove the directory of volume %s: %w", v.Name, err)
	}
	return client.Delete[*corev1.PersistentVolume](ctx, r.env.Client, "", v.Name, client.DeleteOptions{UID: v.UID})
}
