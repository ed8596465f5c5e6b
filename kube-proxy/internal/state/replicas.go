package state

import (
	"context"
	"slices"

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
	Services *cache.Replica[*corev1.Service]
	Slices   *cache.Replica[*discoveryv1.EndpointSlice]
	// Node is this node alone.
	Node *cache.Replica[*corev1.Node]
}

// byService finds slices by namespace/name of their service.
var byService = &cache.Index[*discoveryv1.EndpointSlice]{Name: "service", Values: func(s *discoveryv1.EndpointSlice) []string {
	if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
		return []string{s.Namespace + "/" + name}
	}
	return nil
}}

// NewReplicas makes replicas for a node.
func NewReplicas(c *client.Client, s *stream.Stream, node string, m *cache.Metrics, log *zap.Logger) (*Replicas, error) {
	r := &Replicas{}
	var err error
	if r.Services, err = cache.New(c, s, cache.Options[*corev1.Service]{
		Selection: client.Selection{Labels: ours}, Metrics: m, Log: log,
		Fields: []string{
			"spec.ports", "spec.clusterIP", "spec.clusterIPs", "spec.type", "spec.externalIPs", "spec.sessionAffinity", "spec.sessionAffinityConfig",
			"spec.loadBalancerSourceRanges", "spec.externalTrafficPolicy", "spec.internalTrafficPolicy", "spec.healthCheckNodePort", "status.loadBalancer",
		},
		Trim: func(s *corev1.Service) { s.Annotations, s.OwnerReferences, s.ManagedFields = nil, nil, nil },
	}); err != nil {
		return nil, err
	}
	if r.Slices, err = cache.New(c, s, cache.Options[*discoveryv1.EndpointSlice]{
		Selection: client.Selection{Labels: ours}, Metrics: m, Log: log,
		Fields:  []string{"addressType", "endpoints", "ports"},
		Indexes: []*cache.Index[*discoveryv1.EndpointSlice]{byService},
		Trim:    newTrimmer(node).trim,
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

// trimmer keeps slices small: what is not needed goes, what is in many of
// them is there once.
type trimmer struct {
	node    string
	strings map[string]*string
	yes, no bool
}

func newTrimmer(node string) *trimmer {
	return &trimmer{node: node, strings: map[string]*string{}, yes: true}
}

// lastTrigger says since when an endpoint is what it is.
const lastTrigger = "endpoints.kubernetes.io/last-change-trigger-time"

func (t *trimmer) trim(s *discoveryv1.EndpointSlice) {
	trigger, ok := s.Annotations[lastTrigger]
	s.Annotations, s.OwnerReferences, s.ManagedFields = nil, nil, nil
	if ok {
		s.Annotations = map[string]string{lastTrigger: trigger}
	}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: s.Labels[discoveryv1.LabelServiceName]}
	// Decoding leaves room for as many again.
	s.Endpoints = slices.Clone(s.Endpoints)
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		e.Hostname, e.DeprecatedTopology, e.Zone = nil, nil, nil
		e.NodeName = t.shared(e.NodeName)
		if e.NodeName == nil || *e.NodeName != t.node {
			e.TargetRef = nil // only endpoints of this node are counted
		}
		for _, c := range []**bool{&e.Conditions.Ready, &e.Conditions.Serving, &e.Conditions.Terminating} {
			*c = t.condition(*c)
		}
	}
}

// manyNames of nodes are forgotten: those of nodes that are gone would stay.
const manyNames = 1 << 16

func (t *trimmer) shared(s *string) *string {
	if s == nil {
		return nil
	}
	if have := t.strings[*s]; have != nil {
		return have
	}
	if len(t.strings) > manyNames {
		clear(t.strings)
	}
	t.strings[*s] = s
	return s
}

func (t *trimmer) condition(c *bool) *bool {
	switch {
	case c == nil:
		return nil
	case *c:
		return &t.yes
	}
	return &t.no
}
