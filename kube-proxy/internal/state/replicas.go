package state

import (
	"context"
	"sync/atomic"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/client/stream"
)

// ours selects what is no other proxy's and has endpoints to be reached by.
const ours = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"

// Replicas are what is known of the cluster: with the fields that are needed
// and no others.
type Replicas struct {
	Services *cache.Replica[*Packed]
	Slices   *cache.Replica[*Packed]
	// Node is this node alone.
	Node *cache.Replica[*corev1.Node]
	// loaded: what comes now is looked at soon.
	loaded atomic.Bool
}

// NewReplicas makes replicas for a node.
func NewReplicas(c *client.Client, s *stream.Stream, node string, m *cache.Metrics, log *zap.Logger) (*Replicas, error) {
	r := &Replicas{}
	var err error
	if r.Services, err = cache.Reduce(c, s, packService, cache.Options[*Packed]{
		Selection: client.Selection{Labels: ours}, Metrics: m, Log: log,
		Fields: []string{
			"spec.ports", "spec.clusterIP", "spec.clusterIPs", "spec.type", "spec.externalIPs", "spec.sessionAffinity", "spec.sessionAffinityConfig",
			"spec.loadBalancerSourceRanges", "spec.externalTrafficPolicy", "spec.internalTrafficPolicy", "spec.healthCheckNodePort", "status.loadBalancer",
		},
	}); err != nil {
		return nil, err
	}
	slice := func(s *discoveryv1.EndpointSlice) *Packed { return packSlice(s, node, r.loaded.Load()) }
	if r.Slices, err = cache.Reduce(c, s, slice, cache.Options[*Packed]{
		Selection: client.Selection{Labels: ours}, Metrics: m, Log: log,
		Fields: []string{"addressType", "endpoints", "ports"},
	}); err != nil {
		return nil, err
	}
	r.Node, err = cache.New(c, s, cache.Options[*corev1.Node]{
		Selection: client.Selection{Name: node}, Metrics: m, Log: log,
		Fields: []string{"spec.podCIDRs", "spec.taints", "status.addresses"},
	})
	return r, err
}

// Run feeds the replicas until ctx ends.
func (r *Replicas) Run(ctx context.Context) error {
	return daemon.Run(ctx, r.Services.Run, r.Slices.Run, r.Node.Run)
}
