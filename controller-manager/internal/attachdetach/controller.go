package attachdetach

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/pod"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "persistentvolume-attach-detach-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "attachdetach",
	ServiceAccount: "attachdetach-controller", EventSource: "attachdetach-controller",
	Reads:  []string{"pods", "persistentvolumeclaims", "persistentvolumes", "nodes", "volumeattachments", "csidrivers"},
	Writes: []string{"volumeattachments", "nodes:status.volumesAttached"},
	New:    newController,
}

type reconciler struct {
	env         *control.Env
	queue       *workqueue.Queue[cache.Key] // of nodes
	pods        *cache.Replica[*corev1.Pod]
	claims      *cache.Replica[*corev1.PersistentVolumeClaim]
	volumes     *cache.Replica[*corev1.PersistentVolume]
	nodes       *cache.Replica[*corev1.Node]
	attachments *cache.Replica[*storagev1.VolumeAttachment]
	drivers     *cache.Replica[*storagev1.CSIDriver]

	mu       sync.Mutex
	memories map[string]*memory // guarded by mu; a node's belongs to who reconciles it
}

// Indexes of attachments.
var (
	byNode = &cache.Index[*storagev1.VolumeAttachment]{Name: "node", Values: func(a *storagev1.VolumeAttachment) []string { return []string{a.Spec.NodeName} }}
	ofPV   = &cache.Index[*storagev1.VolumeAttachment]{Name: "volume", Values: func(a *storagev1.VolumeAttachment) []string {
		if n := a.Spec.Source.PersistentVolumeName; n != nil {
			return []string{*n}
		}
		return nil
	}}
)

func newController(e *control.Env) (control.Runner, error) {
	s := e.Replicas
	r := &reconciler{
		env: e, queue: e.Queue("attach_detach"), pods: replica.Of[*corev1.Pod](s), claims: replica.Of[*corev1.PersistentVolumeClaim](s),
		volumes: replica.Of[*corev1.PersistentVolume](s), nodes: replica.Of[*corev1.Node](s), drivers: replica.Of[*storagev1.CSIDriver](s),
		memories: map[string]*memory{},
	}
	var err error
	r.attachments, err = cache.New(s.Client, s.Stream, cache.Options[*storagev1.VolumeAttachment]{
		Indexes: []*cache.Index[*storagev1.VolumeAttachment]{byNode, ofPV}, Metrics: s.Metrics, Log: e.Log,
	})
	if err != nil {
		return nil, err
	}
	r.follow()
	// One worker: two nodes never get the same volume at once.
	loop := e.Loop(name, r.queue, 1, r.reconcile, r.pods, r.claims, r.volumes, r.nodes, r.attachments, r.drivers)
	return control.RunFunc(func(ctx context.Context) error { return daemon.Run(ctx, r.attachments.Run, loop.Run) }), nil
}

func (r *reconciler) add(node string) {
	if node != "" {
		r.queue.Add(cache.Key{Name: node})
	}
}

// follow queues the nodes that a change concerns.
func (r *reconciler) follow() {
	r.pods.OnChange(func(c cache.Change[*corev1.Pod]) {
		if c.HasOld && c.HasNew && c.Old.Spec.NodeName == c.New.Spec.NodeName && pod.Finished(c.Old) == pod.Finished(c.New) {
			return
		}
		for _, p := range []*corev1.Pod{c.Old, c.New} {
			if p != nil && len(claimsOf(p)) > 0 {
				r.add(p.Spec.NodeName)
			}
		}
	})
	r.claims.OnChange(func(c cache.Change[*corev1.PersistentVolumeClaim]) {
		if c.HasNew && (!c.HasOld || c.Old.Spec.VolumeName != c.New.Spec.VolumeName || c.Old.Status.Phase != c.New.Status.Phase) {
			r.usersOf(c.Key)
		}
	})
	r.volumes.OnChange(func(c cache.Change[*corev1.PersistentVolume]) {
		if c.HasNew && c.New.Spec.CSI != nil && c.New.Spec.ClaimRef != nil {
			r.usersOf(cache.Key{Namespace: c.New.Spec.ClaimRef.Namespace, Name: c.New.Spec.ClaimRef.Name})
		}
	})
	r.nodes.OnChange(func(c cache.Change[*corev1.Node]) {
		if !c.HasOld || !c.HasNew || concerns(c.Old, c.New) {
			r.queue.Add(c.Key)
		}
	})
	r.attachments.OnChange(func(c cache.Change[*storagev1.VolumeAttachment]) {
		a := c.New
		if !c.HasNew {
			a = c.Old
		}
		r.add(a.Spec.NodeName)
		if name := a.Spec.Source.PersistentVolumeName; !c.HasNew && name != nil {
			// Another node may have waited for it.
			if v, ok := r.volumes.Get("", *name); ok && v.Spec.ClaimRef != nil {
				r.usersOf(cache.Key{Namespace: v.Spec.ClaimRef.Namespace, Name: v.Spec.ClaimRef.Name})
			}
		}
	})
	r.drivers.OnChange(func(c cache.Change[*storagev1.CSIDriver]) {
		if c.HasOld && c.HasNew && attachRequired(c.Old) == attachRequired(c.New) {
			return
		}
		for n := range r.nodes.Snapshot().All() {
			r.queue.Add(cache.KeyOf(n))
		}
	})
}

// concerns reports whether a node's change is about volumes.
func concerns(a, b *corev1.Node) bool {
	ready := func(n *corev1.Node) bool {
		return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
	}
	return ready(a) != ready(b) || metav1.HasAnnotation(a.ObjectMeta, managed) != metav1.HasAnnotation(b.ObjectMeta, managed) ||
		!slices.Equal(a.Status.VolumesInUse, b.Status.VolumesInUse) || !slices.Equal(a.Status.VolumesAttached, b.Status.VolumesAttached) ||
		!equality.Semantic.DeepEqual(a.Spec.Taints, b.Spec.Taints)
}

func (r *reconciler) usersOf(claim cache.Key) {
	for p := range r.pods.Snapshot().By(replica.PodsByClaim, claim.String()) {
		r.add(p.Spec.NodeName)
	}
}

// claimsOf are the names of a pod's claims, and whether a claim must be the
// pod's own.
func claimsOf(p *corev1.Pod) (out map[string]bool) {
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		name, own := "", false
		switch {
		case v.PersistentVolumeClaim != nil:
			name = v.PersistentVolumeClaim.ClaimName
		case v.Ephemeral != nil:
			name, own = p.Name+"-"+v.Name, true
		default:
			continue
		}
		if out == nil {
			out = map[string]bool{}
		}
		out[name] = own
	}
	return out
}

func attachRequired(d *storagev1.CSIDriver) bool {
	return d.Spec.AttachRequired == nil || *d.Spec.AttachRequired
}

// volumeOf is a claim's volume when it is one that is attached.
func (r *reconciler) volumeOf(p *corev1.Pod, claim string, own bool) *corev1.PersistentVolume {
	c, ok := r.claims.Get(p.Namespace, claim)
	if !ok || c.Status.Phase != corev1.ClaimBound || own && !metav1.IsControlledBy(c, p) {
		return nil
	}
	v, ok := r.volumes.Get("", c.Spec.VolumeName)
	if !ok || v.Spec.CSI == nil || v.Spec.ClaimRef == nil || v.Spec.ClaimRef.UID != c.UID {
		return nil
	}
	if d, ok := r.drivers.Get("", v.Spec.CSI.Driver); ok && !attachRequired(d) {
		return nil
	}
	return v
}

func (r *reconciler) wants(node string) []want {
	byName := map[string]*want{}
	for p := range r.pods.Snapshot().By(replica.PodsByNode, node) {
		if pod.Finished(p) {
			continue // the kubelet says by volumesInUse when it is done
		}
		for claim, own := range claimsOf(p) {
			v := r.volumeOf(p, claim, own)
			if v == nil {
				continue
			}
			if byName[v.Name] == nil {
				byName[v.Name] = &want{volume: v}
			}
			byName[v.Name].pods = append(byName[v.Name].pods, p)
		}
	}
	out := make([]want, 0, len(byName))
	for _, w := range byName {
		slices.SortFunc(w.pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
		out = append(out, *w)
	}
	slices.SortFunc(out, func(a, b want) int { return cmp.Compare(a.volume.Name, b.volume.Name) })
	return out
}

func (r *reconciler) observe(node string) observed {
	attachments := r.attachments.Snapshot()
	r.mu.Lock()
	m := r.memories[node]
	if m == nil {
		m = newMemory()
		r.memories[node] = m
	}
	r.mu.Unlock()
	o := observed{
		name: node, wants: r.wants(node), now: time.Now(), patient: r.env.Config.NoForceDetach, memory: m,
		volume: func(name string) *corev1.PersistentVolume {
			v, _ := r.volumes.Get("", name)
			return v
		},
		elsewhere: func(volume string) (out []*storagev1.VolumeAttachment) {
			for a := range attachments.By(ofPV, volume) {
				if a.Spec.NodeName != node {
					out = append(out, a)
				}
			}
			return out
		},
		users: func(v *corev1.PersistentVolume) (out []*corev1.Pod) {
			claim := cache.Key{Namespace: v.Spec.ClaimRef.Namespace, Name: v.Spec.ClaimRef.Name}
			for p := range r.pods.Snapshot().By(replica.PodsByClaim, claim.String()) {
				if p.Spec.NodeName != "" && p.Spec.NodeName != node && !pod.Finished(p) {
					out = append(out, p)
				}
			}
			return out
		},
	}
	for a := range attachments.By(byNode, node) {
		if a.Spec.Source.PersistentVolumeName != nil {
			o.attachments = append(o.attachments, a)
		}
	}
	slices.SortFunc(o.attachments, func(a, b *storagev1.VolumeAttachment) int { return cmp.Compare(a.Name, b.Name) })
	if n, ok := r.nodes.Get("", node); ok {
		o.node = n
	}
	return o
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	o := r.observe(key.Name)
	if o.node == nil && len(o.attachments) == 0 {
		r.mu.Lock()
		delete(r.memories, key.Name)
		r.mu.Unlock()
		return nil
	}
	p := plan(o)
	for _, n := range p.Notes {
		r.env.Events.Event(n.Pod, n.Type, n.Reason, n.Message)
	}
	if p.Write {
		// A kubelet that starts to use a volume now must not find it there.
		if err := r.report(ctx, o.node, p.Attached); err != nil {
			return err
		}
	}
	if err := r.detach(ctx, &p); err != nil {
		return err
	}
	if err := r.attach(ctx, &p); err != nil {
		return err
	}
	return control.Later(p.Again)
}

// report writes what is attached into a node's status.
func (r *reconciler) report(ctx context.Context, n *corev1.Node, attached []corev1.AttachedVolume) error {
	if attached == nil {
		attached = []corev1.AttachedVolume{}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": n.UID}, "status": map[string]any{"volumesAttached": attached}})
	if err != nil {
		return err
	}
	_, err = client.Patch[*corev1.Node](ctx, r.env.Client, "", n.Name, types.MergePatchType, patch, client.WriteOptions{Subresource: "status", OmitObject: true})
	switch {
	case err == nil || apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return control.Retry(err)
	}
	return fmt.Errorf("write the attached volumes of node %s: %w", n.Name, err)
}

func (r *reconciler) detach(ctx context.Context, p *Plan) error {
	for _, a := range p.Delete {
		if why := p.Forced[a.Name]; why != "" {
			r.env.Log.Warn("a volume is detached though its node may use it", zap.String("volume", *a.Spec.Source.PersistentVolumeName), zap.String("node", a.Spec.NodeName), zap.String("reason", why))
		}
		err := client.Delete[*storagev1.VolumeAttachment](ctx, r.env.Client, "", a.Name, client.DeleteOptions{UID: a.UID})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("detach volume %s from node %s: %w", *a.Spec.Source.PersistentVolumeName, a.Spec.NodeName, err)
		}
	}
	return nil
}

// attach creates attachments, and returns when they are seen: the next node
// must not get the same volume.
func (r *reconciler) attach(ctx context.Context, p *Plan) error {
	var writes []*client.Write
	for _, a := range p.Create {
		q, err := client.CreateWrite(r.env.Client, a, client.WriteOptions{OmitObject: true})
		if err != nil {
			return err
		}
		writes = append(writes, q)
	}
	var errs []error
	newest := int64(0)
	for i, res := range r.env.Write.All(ctx, writes) {
		switch {
		case res.Err == nil:
			newest = max(newest, res.Response.GetObject().GetRevision())
		case !apierrors.IsAlreadyExists(res.Err):
			errs = append(errs, fmt.Errorf("attach volume %s to node %s: %w", *p.Create[i].Spec.Source.PersistentVolumeName, p.Create[i].Spec.NodeName, res.Err))
		}
	}
	if newest > 0 {
		errs = append(errs, r.attachments.WaitFor(ctx, newest))
	}
	return errors.Join(errs...)
}
