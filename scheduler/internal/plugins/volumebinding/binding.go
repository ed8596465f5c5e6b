// Package volumebinding places pods where their volumes are or can be, and
// sees to it that claims which wait for a pod are bound before the pod is.
package volumebinding

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/plugins/nodeselector"
	"xebec.dev/scheduler/internal/volumes"
)

// Name of the plugin.
const Name = "VolumeBinding"

// Writer writes claims and volumes.
type Writer interface {
	UpdateVolume(ctx context.Context, pv *corev1.PersistentVolume) error
	UpdateClaim(ctx context.Context, c *corev1.PersistentVolumeClaim) error
}

// Plugin implements Filter, Reserve and PreBind.
type Plugin struct {
	Volumes *volumes.Volumes
	Writer  Writer
	// Timeout of PreBind.
	Timeout time.Duration
}

// Name implements framework.Plugin.
func (*Plugin) Name() string { return Name }

func reject(format string, args ...any) *framework.Status {
	return framework.NewStatus(Name, framework.Unresolvable, fmt.Sprintf(format, args...))
}

var (
	elsewhere = reject("node(s) didn't match PersistentVolume's node affinity")
	noVolume  = reject(volumes.NoVolume)
	noSpace   = reject(volumes.NoSpace)
	missing   = reject("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
)

// Sign implements framework.Signer, for all plugins that look at volumes.
func (pl *Plugin) Sign(c *cache.Cluster, p *cache.Pod) (string, bool) {
	return pl.Volumes.Sign(c, p), true
}

// PreFilter implements framework.PreFilterer.
func (pl *Plugin) PreFilter(_ *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	if !p.Shape.Volumes {
		return framework.Compiled{}, framework.NewStatus(Name, framework.Skip)
	}
	f := &filter{v: pl.Volumes}
	immediate := false
	for _, u := range pl.Volumes.Uses(p.Obj) {
		if st := usable(p.Obj, &u); st != nil {
			return framework.Compiled{}, st
		}
		switch {
		case volumes.IsBound(u.Claim):
			f.bound = append(f.bound, u)
		case u.Delayed():
			f.delayed = append(f.delayed, u)
		default:
			immediate = true
		}
	}
	if immediate {
		return framework.Compiled{}, reject("pod has unbound immediate PersistentVolumeClaims")
	}
	if len(f.bound)+len(f.delayed) == 0 {
		return framework.Compiled{}, framework.NewStatus(Name, framework.Skip)
	}
	return framework.Compiled{Filter: f, Static: true}, nil
}

// usable says what is wrong with a claim.
func usable(p *corev1.Pod, u *volumes.Use) *framework.Status {
	switch {
	case u.Claim == nil && u.Ephemeral:
		return reject("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", u.Name)
	case u.Claim == nil:
		return reject("persistentvolumeclaim %q not found", u.Name)
	case u.Claim.DeletionTimestamp != nil:
		return reject("persistentvolumeclaim %q is being deleted", u.Name)
	case u.Claim.Status.Phase == corev1.ClaimLost:
		return reject("persistentvolumeclaim %q bound to non-existent persistentvolume %q", u.Name, u.Claim.Spec.VolumeName)
	case u.Ephemeral && !metav1.IsControlledBy(u.Claim, p):
		return reject("PVC %s/%s was not created for pod %s/%s (pod is not owner)", u.Claim.Namespace, u.Claim.Name, p.Namespace, p.Name)
	}
	return nil
}

type filter struct {
	v              *volumes.Volumes
	bound, delayed []volumes.Use
}

// Filter implements framework.NodeFilter.
func (f *filter) Filter(n *cache.Node) *framework.Status {
	for i := range f.bound {
		pv := f.bound[i].Bound
		if pv == nil {
			return missing
		}
		if a := pv.Spec.NodeAffinity; a != nil && a.Required != nil && !nodeselector.Matches(a.Required, n.Obj) {
			return elsewhere
		}
	}
	if len(f.delayed) == 0 {
		return nil
	}
	switch _, why := f.v.Choose(f.delayed, n.Obj); why {
	case "":
		return nil
	case volumes.NoSpace:
		return noSpace
	}
	return noVolume
}

// Reserve implements framework.Reserver: what is chosen now is not chosen for
// others.
func (pl *Plugin) Reserve(a *framework.Attempt) *framework.Status {
	if !a.Pod.Shape.Volumes {
		return nil
	}
	var delayed []volumes.Use
	for _, u := range pl.Volumes.Uses(a.Pod.Obj) {
		if u.Claim != nil && !volumes.IsBound(u.Claim) {
			delayed = append(delayed, u)
		}
	}
	if len(delayed) == 0 {
		return nil
	}
	n := a.Cluster.Node(a.Node)
	if n == nil {
		return framework.Errorf(Name, "node %q is gone", a.Node)
	}
	c, why := pl.Volumes.Choose(delayed, n.Obj)
	if why != "" {
		return framework.NewStatus(Name, framework.Unschedulable, why)
	}
	pl.Volumes.Assume(&c, a.Node)
	a.Keep(Name, &work{choice: c})
	return nil
}

type work struct{ choice volumes.Choice }

// Unreserve implements framework.Reserver.
func (pl *Plugin) Unreserve(a *framework.Attempt) {
	if w, ok := a.Data[Name].(*work); ok {
		pl.Volumes.Forget(&w.choice)
		delete(a.Data, Name)
	}
}

// PostBind implements framework.PostBinder: the claims are bound, nothing
// need be assumed.
func (pl *Plugin) PostBind(a *framework.Attempt) { pl.Unreserve(a) }

// PreBindPreFlight implements framework.PreBinder.
func (pl *Plugin) PreBindPreFlight(a *framework.Attempt) *framework.Status {
	if a.Data[Name] == nil {
		return framework.NewStatus(Name, framework.Skip)
	}
	return nil
}

// PreBind implements framework.PreBinder: it writes the choice and waits until
// the claims are bound.
func (pl *Plugin) PreBind(ctx context.Context, a *framework.Attempt) *framework.Status {
	w := a.Data[Name].(*work)
	ctx, cancel := context.WithTimeout(ctx, pl.Timeout)
	defer cancel()
	var claims []*corev1.PersistentVolumeClaim
	for _, b := range w.choice.Bind {
		claims = append(claims, b.Claim)
		if b.Volume.Spec.ClaimRef != nil && b.Volume.Spec.ClaimRef.UID == b.Claim.UID {
			continue
		}
		pv := b.Volume.DeepCopy()
		pv.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: b.Claim.Namespace, Name: b.Claim.Name, UID: b.Claim.UID, ResourceVersion: b.Claim.ResourceVersion}
		metav1.SetMetaDataAnnotation(&pv.ObjectMeta, "pv.kubernetes.io/bound-by-controller", "yes")
		if err := pl.Writer.UpdateVolume(ctx, pv); err != nil {
			return framework.Errorf(Name, "binding volumes: bind claim %s to volume %q: %w", volumes.Key(b.Claim), pv.Name, err)
		}
	}
	for _, c := range w.choice.Provision {
		claims = append(claims, c)
		if c.Annotations[volumes.SelectedNode] == a.Node {
			continue
		}
		c = c.DeepCopy()
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, volumes.SelectedNode, a.Node)
		if err := pl.Writer.UpdateClaim(ctx, c); err != nil {
			return framework.Errorf(Name, "binding volumes: select node %q for claim %s: %w", a.Node, volumes.Key(c), err)
		}
	}
	for _, c := range claims {
		if err := pl.wait(ctx, c, a.Node); err != nil {
			return framework.Errorf(Name, "binding volumes: %w", err)
		}
	}
	return nil
}

// wait until a claim is bound.
func (pl *Plugin) wait(ctx context.Context, c *corev1.PersistentVolumeClaim, node string) error {
	selected := false
	for {
		now, changed, ok := pl.Volumes.Claim(c.Namespace, c.Name)
		switch {
		case !ok:
			return fmt.Errorf("claim %s was deleted", volumes.Key(c))
		case volumes.IsBound(now):
			return nil
		case now.Annotations[volumes.SelectedNode] == node:
			selected = true
		case selected:
			return fmt.Errorf("provisioning failed for PVC %q: the provisioner asks for another node", c.Name)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("timed out waiting for claim %s to be bound: %w", volumes.Key(c), ctx.Err())
		}
	}
}

// Events implements framework.Enqueuer.
func (pl *Plugin) Events() []framework.EventHint {
	return []framework.EventHint{
		{Object: framework.Claim, Action: framework.Add | framework.Update, Hint: claimOf},
		{Object: framework.Volume, Action: framework.Add | framework.Update},
		{Object: framework.StorageClass, Action: framework.Add | framework.Update},
		{Object: framework.CSINode, Action: framework.Add | framework.Update},
		{Object: framework.CSIDriver, Action: framework.Add | framework.Update},
		{Object: framework.CSIStorageCapacity, Action: framework.Add | framework.Update},
		{Object: framework.Node, Action: framework.Add | framework.UpdateNodeLabel},
	}
}

func claimOf(_ *cache.Cluster, p *cache.Pod, e *framework.Event) framework.Hint {
	c, ok := e.New.(*corev1.PersistentVolumeClaim)
	if !ok {
		return framework.Queue
	}
	if c.Namespace != p.Obj.Namespace {
		return framework.QueueSkip
	}
	for i := range p.Obj.Spec.Volumes {
		if cache.ClaimName(p.Obj, &p.Obj.Spec.Volumes[i]) == c.Name {
			return framework.Queue
		}
	}
	return framework.QueueSkip
}
