// Package dynamicresources keeps pods that ask for devices by resource claims
// from being placed without them.
package dynamicresources

import (
	"context"
	"fmt"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Name of the plugin.
const Name = "DynamicResources"

// Plugin implements Filter and PostFilter.
type Plugin struct{}

// Name implements framework.Plugin.
func (Plugin) Name() string { return Name }

// Sign implements framework.Signer.
func (Plugin) Sign(_ *cache.Cluster, p *cache.Pod) (string, bool) {
	return "", len(p.Obj.Spec.ResourceClaims) == 0
}

// PreFilter implements framework.PreFilterer. Devices are not allocated by
// this scheduler: a pod that claims some waits, and its event says why.
func (Plugin) PreFilter(_ *cache.Cluster, p *cache.Pod) (framework.Compiled, *framework.Status) {
	claims := p.Obj.Spec.ResourceClaims
	if len(claims) == 0 {
		return framework.Compiled{}, framework.NewStatus(Name, framework.Skip)
	}
	return framework.Compiled{}, framework.NewStatus(Name, framework.Unresolvable,
		fmt.Sprintf("pod claims devices (spec.resourceClaims[0] %q) and this scheduler allocates none", claims[0].Name))
}

// PostFilter implements framework.PostFilterer: no claim holds devices that
// could be given back.
func (Plugin) PostFilter(context.Context, *framework.Attempt) (*framework.PostFilterResult, *framework.Status) {
	return nil, framework.NewStatus(Name, framework.Unschedulable, "no new claims to deallocate")
}

// Events implements framework.Enqueuer.
func (Plugin) Events() []framework.EventHint { return nil }
