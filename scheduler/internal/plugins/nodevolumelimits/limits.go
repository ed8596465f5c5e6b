// Package nodevolumelimits keeps a node from getting more volumes than its
// CSI drivers can attach.
package nodevolumelimits

import (
	"fmt"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/volumes"
)

// Name of the plugin.
const Name = "NodeVolumeLimits"

// Plugin implements Filter.
type Plugin struct{ Volumes *volumes.Volumes }

// Name implements framework.Plugin.
func (*Plugin) Name() string { return Name }

var rejected = framework.NewStatus(Name, framework.Unschedulable, "node(s) exceed max volume count")

type volume struct{ driver, handle string }

type filter struct {
	v     *volumes.Volumes
	wants []volume
}

// Filter implements framework.NodeFilter.
func (f *filter) Filter(n *cache.Node) *framework.Status {
	limits := f.v.Limits(n.Name)
	if len(limits) == 0 {
		return nil
	}
	there := map[volume]bool{}
	used := map[string]int64{}
	add := func(driver, handle string) {
		if v := (volume{driver, handle}); !there[v] {
			there[v] = true
			used[driver]++
		}
	}
	f.v.AttachedTo(n.Name, add)
	if n.HasVolumePods() {
		for _, p := range n.Pods {
			if p.Shape.Volumes {
				f.v.Attach(p, func(driver, handle, _ string) { add(driver, handle) })
			}
		}
	}
	more := map[string]bool{}
	for _, w := range f.wants {
		if !there[w] {
			add(w.driver, w.handle)
			more[w.driver] = true
		}
	}
	for driver := range more {
		if limit, ok := limits[driver]; ok && used[driver] > limit {
			return rejected
		}
	}
	return nil
}

// PreFilter implements framework.PreFilterer.
func (pl *Plugin) PreFilter(c *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	f := &filter{v: pl.Volumes}
	if p.Shape.Volumes {
		pl.Volumes.Attach(p, func(driver, handle, claim string) {
			// Pods are alike whose claims nobody else uses: it must not matter
			// what this one's volumes are called.
			if claim != "" && c.ClaimUsers(p.Obj.Namespace, claim) == 0 {
				handle = fmt.Sprintf("\x00%d", len(f.wants))
			}
			f.wants = append(f.wants, volume{driver, handle})
		})
	}
	if len(f.wants) == 0 {
		return framework.Compiled{}, framework.NewStatus(Name, framework.Skip)
	}
	return framework.Compiled{Filter: f}, nil
}

// Sign implements framework.Signer: limits and attachments may change.
func (pl *Plugin) Sign(_ *cache.Cluster, p *cache.Pod) (string, bool) {
	if !p.Shape.Volumes {
		return "", true
	}
	return pl.Volumes.LimitsVersion(), true
}

// Events implements framework.Enqueuer.
func (pl *Plugin) Events() []framework.EventHint {
	return []framework.EventHint{
		{Object: framework.CSINode, Action: framework.Add | framework.Update},
		{Object: framework.AssignedPod, Action: framework.Delete, Hint: withVolumes},
		{Object: framework.Claim, Action: framework.Add | framework.Update},
		{Object: framework.Volume, Action: framework.Add | framework.Update},
		{Object: framework.VolumeAttachment, Action: framework.Delete},
	}
}

func withVolumes(_ *cache.Cluster, _ *cache.Pod, e *framework.Event) framework.Hint {
	p, ok := e.Old.(*cache.Pod)
	return framework.Hint(!ok || p.Shape.Volumes)
}
