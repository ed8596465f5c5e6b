// Package volumezone keeps pods in the zones of their volumes, where volumes
// say so by labels.
package volumezone

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/volumes"
)

// Name of the plugin.
const Name = "VolumeZone"

// Plugin implements Filter.
type Plugin struct{ Volumes *volumes.Volumes }

// Name implements framework.Plugin.
func (*Plugin) Name() string { return Name }

var rejected = framework.NewStatus(Name, framework.Unresolvable, "node(s) had no available volume zone")

// current names of older keys.
var current = map[string]string{
	corev1.LabelFailureDomainBetaZone: corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaRegion: corev1.LabelTopologyRegion,
}

type requirement struct {
	key    string
	values []string
}

type filter []requirement

// Filter implements framework.NodeFilter. Nodes that say nothing about zones
// are taken at their word.
func (f filter) Filter(n *cache.Node) *framework.Status {
	if !slices.ContainsFunc(volumes.ZoneKeys, func(k string) bool { _, ok := n.Obj.Labels[k]; return ok }) {
		return nil
	}
	for _, r := range f {
		have, ok := n.Obj.Labels[r.key]
		if !ok {
			have, ok = n.Obj.Labels[current[r.key]]
		}
		if !ok || !slices.Contains(r.values, have) {
			return rejected
		}
	}
	return nil
}

// PreFilter implements framework.PreFilterer.
func (pl *Plugin) PreFilter(_ *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	var f filter
	if p.Shape.Volumes {
		for _, u := range pl.Volumes.Uses(p.Obj) {
			if u.Bound == nil {
				continue
			}
			for _, k := range volumes.ZoneKeys {
				if v, ok := u.Bound.Labels[k]; ok {
					f = append(f, requirement{k, strings.Split(v, "__")})
				}
			}
		}
	}
	if len(f) == 0 {
		return framework.Compiled{}, framework.NewStatus(Name, framework.Skip)
	}
	return framework.Compiled{Filter: f, Static: true}, nil
}

// Events implements framework.Enqueuer.
func (pl *Plugin) Events() []framework.EventHint {
	return []framework.EventHint{
		{Object: framework.StorageClass, Action: framework.Add},
		{Object: framework.Node, Action: framework.Add | framework.UpdateNodeLabel},
		{Object: framework.Claim, Action: framework.Add | framework.Update},
		{Object: framework.Volume, Action: framework.Add | framework.Update},
	}
}
