// Package volumerestrictions keeps apart pods whose volumes only one of them
// may use: ReadWriteOncePod claims anywhere, some kinds of disks on a node.
package volumerestrictions

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/volumes"
)

// Name of the plugin.
const Name = "VolumeRestrictions"

// Plugin implements Filter.
type Plugin struct{ Volumes *volumes.Volumes }

// Name implements framework.Plugin.
func (*Plugin) Name() string { return Name }

var (
	inUse    = framework.NewStatus(Name, framework.Unschedulable, "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode")
	conflict = framework.NewStatus(Name, framework.Unschedulable, "node(s) had no available disk")
)

type filter struct {
	c         *cache.Cluster
	namespace string
	claims    []string
	disks     []corev1.Volume
}

// Filter implements framework.NodeFilter.
func (f *filter) Filter(n *cache.Node) *framework.Status {
	if len(f.disks) > 0 && n.HasVolumePods() {
		for _, p := range n.Pods {
			if p.Shape.Volumes && f.disturbs(p.Obj) {
				return conflict
			}
		}
	}
	for _, name := range f.claims {
		if f.c.ClaimUsers(f.namespace, name) > 0 {
			return inUse
		}
	}
	return nil
}

func (f *filter) disturbs(p *corev1.Pod) bool {
	for i := range f.disks {
		for j := range p.Spec.Volumes {
			if same(&f.disks[i], &p.Spec.Volumes[j]) {
				return true
			}
		}
	}
	return false
}

// disk reports whether a volume is of a kind that conflicts.
func disk(v *corev1.Volume) bool {
	return v.GCEPersistentDisk != nil || v.AWSElasticBlockStore != nil || v.ISCSI != nil || v.RBD != nil
}

// same reports whether two volumes are one disk that both can't have.
func same(a, b *corev1.Volume) bool {
	switch {
	case a.GCEPersistentDisk != nil && b.GCEPersistentDisk != nil:
		x, y := a.GCEPersistentDisk, b.GCEPersistentDisk
		return x.PDName == y.PDName && !(x.ReadOnly && y.ReadOnly)
	case a.AWSElasticBlockStore != nil && b.AWSElasticBlockStore != nil:
		return a.AWSElasticBlockStore.VolumeID == b.AWSElasticBlockStore.VolumeID
	case a.ISCSI != nil && b.ISCSI != nil:
		return a.ISCSI.IQN == b.ISCSI.IQN && !(a.ISCSI.ReadOnly && b.ISCSI.ReadOnly)
	case a.RBD != nil && b.RBD != nil:
		x, y := a.RBD, b.RBD
		monitor := slices.ContainsFunc(x.CephMonitors, func(m string) bool { return slices.Contains(y.CephMonitors, m) })
		return monitor && x.RBDPool == y.RBDPool && x.RBDImage == y.RBDImage && !(x.ReadOnly && y.ReadOnly)
	}
	return false
}

// PreFilter implements framework.PreFilterer.
func (pl *Plugin) PreFilter(c *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	f := &filter{c: c, namespace: p.Obj.Namespace}
	if p.Shape.Volumes {
		for i := range p.Obj.Spec.Volumes {
			if v := &p.Obj.Spec.Volumes[i]; disk(v) {
				f.disks = append(f.disks, *v)
			}
		}
		for _, u := range pl.Volumes.Uses(p.Obj) {
			if u.Claim != nil && slices.Contains(u.Claim.Spec.AccessModes, corev1.ReadWriteOncePod) {
				f.claims = append(f.claims, u.Name)
			}
		}
	}
	if len(f.disks)+len(f.claims) == 0 {
		return framework.Compiled{}, framework.NewStatus(Name, framework.Skip)
	}
	return framework.Compiled{Filter: f}, nil
}

// Events implements framework.Enqueuer.
func (pl *Plugin) Events() []framework.EventHint {
	return []framework.EventHint{
		{Object: framework.AssignedPod, Action: framework.Delete},
		{Object: framework.Node, Action: framework.Add},
		{Object: framework.Claim, Action: framework.Add | framework.Update},
	}
}
