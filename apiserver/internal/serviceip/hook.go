// Package serviceip gives Services their cluster IPs and node ports, once
// each, over any number of API servers.
//
// An address is taken by creating its IPAddress object, a node port by a
// compare-and-swap of the port bitmap that Kubernetes keeps under the same
// key. What was taken for a write that then fails is given back.
package serviceip

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/registry"
)

// Hook allocates for the services resource.
type Hook struct {
	Addresses *Addresses
	Ports     *Ports
	// Families of the cluster, the primary one first.
	Families []corev1.IPFamily
}

// Registry is the hook in the registry's form.
func (h *Hook) Registry() *registry.Hook {
	return &registry.Hook{
		BeforeCreate: func(ctx context.Context, obj scheme.Object, dryRun bool) (func(bool), error) {
			return h.write(ctx, obj.(*corev1.Service), nil, dryRun)
		},
		BeforeUpdate: func(ctx context.Context, obj, old scheme.Object, dryRun bool) (func(bool), error) {
			return h.write(ctx, obj.(*corev1.Service), old.(*corev1.Service), dryRun)
		},
		AfterDelete: func(ctx context.Context, obj scheme.Object) { h.release(ctx, obj.(*corev1.Service), nil) },
	}
}

// write takes what the new service needs. finish gives back the new on
// failure, and on success what only the old one had.
func (h *Hook) write(ctx context.Context, s, old *corev1.Service, dryRun bool) (func(bool), error) {
	core.PrepareServiceIPs(s, old)
	if errs := core.InitServiceFamilies(s, old, h.Families); len(errs) > 0 {
		return nil, invalid(s, errs)
	}
	t := &taking{Hook: h, service: s, old: old, dryRun: dryRun}
	err := t.addresses(ctx)
	if err == nil {
		err = t.ports(ctx)
	}
	if err != nil {
		t.giveBack(ctx)
		return nil, err
	}
	return func(ok bool) {
		// The request may be over; giving back must not be.
		ctx := context.WithoutCancel(ctx)
		switch {
		case dryRun:
		case !ok:
			t.giveBack(ctx)
		case old != nil:
			h.release(ctx, old, s)
		}
	}, nil
}

func invalid(s *corev1.Service, errs field.ErrorList) error {
	return apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, s.Name, errs)
}

// taking is what one write has taken so far.
type taking struct {
	*Hook
	service, old *corev1.Service
	dryRun       bool
	tookIPs      []string
	tookPorts    []int32
}

func (t *taking) giveBack(ctx context.Context) {
	if t.dryRun {
		return
	}
	for _, ip := range t.tookIPs {
		t.Addresses.Release(ctx, ip)
	}
	t.Ports.Release(ctx, t.tookPorts)
}

// addresses makes clusterIPs have one address per family.
func (t *taking) addresses(ctx context.Context) error {
	spec := &t.service.Spec
	if !core.ServiceNeedsClusterIP(t.service) || core.ServiceIsHeadless(t.service) {
		return nil
	}
	had := []string{}
	if t.old != nil && core.ServiceNeedsClusterIP(t.old) {
		had = t.old.Spec.ClusterIPs
	}
	for i, family := range spec.IPFamilies {
		if i < len(spec.ClusterIPs) && spec.ClusterIPs[i] != "" {
			if err := t.chosen(ctx, spec.ClusterIPs[i], had); err != nil {
				return err
			}
			continue
		}
		ip, err := t.Addresses.Allocate(ctx, family, t.service, t.dryRun)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP: %w", err))
		}
		t.tookIPs = append(t.tookIPs, ip)
		spec.ClusterIPs = append(spec.ClusterIPs[:min(i, len(spec.ClusterIPs))], ip)
	}
	if len(spec.ClusterIPs) > 0 {
		spec.ClusterIP = spec.ClusterIPs[0]
	}
	return nil
}

// chosen takes an address that the writer named.
func (t *taking) chosen(ctx context.Context, ip string, had []string) error {
	if slices.Contains(had, ip) {
		return nil
	}
	if err := t.Addresses.Take(ctx, ip, t.service, t.dryRun); err != nil {
		return invalid(t.service, field.ErrorList{
			field.Invalid(field.NewPath("spec", "clusterIPs"), t.service.Spec.ClusterIPs, fmt.Sprintf("failed to allocate IP %s: %v", ip, err)),
		})
	}
	t.tookIPs = append(t.tookIPs, ip)
	return nil
}

// ports gives node ports to the ports of the service, and one for its health
// check where the type wants it.
func (t *taking) ports(ctx context.Context) error {
	had := nodePorts(t.old)
	if core.ServiceHasNodePorts(t.service) {
		allocate := t.service.Spec.Type == corev1.ServiceTypeNodePort || t.service.Spec.AllocateLoadBalancerNodePorts == nil || *t.service.Spec.AllocateLoadBalancerNodePorts
		if err := t.servicePorts(ctx, had, allocate); err != nil {
			return err
		}
	}
	if !core.ServiceNeedsHealthCheck(t.service) {
		return nil
	}
	return t.healthPort(ctx, had)
}

func (t *taking) servicePorts(ctx context.Context, had []int32, allocate bool) error {
	ports := t.service.Spec.Ports
	path := field.NewPath("spec", "ports")
	for i := range ports {
		p := ports[i].NodePort
		if p == 0 || slices.Contains(had, p) || slices.Contains(t.tookPorts, p) {
			continue
		}
		if err := t.Ports.Take(ctx, p, t.dryRun); err != nil {
			return invalid(t.service, field.ErrorList{field.Invalid(path.Index(i).Child("nodePort"), p, err.Error())})
		}
		t.tookPorts = append(t.tookPorts, p)
	}
	for i := range ports {
		if ports[i].NodePort != 0 || !allocate {
			continue
		}
		if p := t.sharable(ports[i]); p != 0 {
			ports[i].NodePort = p
			continue
		}
		p, err := t.Ports.Allocate(ctx, t.dryRun)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
		}
		t.tookPorts = append(t.tookPorts, p)
		ports[i].NodePort = p
	}
	return nil
}

// sharable is the node port of another protocol on the same port, which both
// may have; 0 if there is none.
func (t *taking) sharable(want corev1.ServicePort) int32 {
	for _, p := range t.service.Spec.Ports {
		if p.NodePort == 0 || p.Port != want.Port || p.Protocol == want.Protocol {
			continue
		}
		used := slices.ContainsFunc(t.service.Spec.Ports, func(o corev1.ServicePort) bool {
			return o.NodePort == p.NodePort && o.Protocol == want.Protocol
		})
		if !used {
			return p.NodePort
		}
	}
	return 0
}

func (t *taking) healthPort(ctx context.Context, had []int32) error {
	p := t.service.Spec.HealthCheckNodePort
	switch {
	case p == 0:
		p, err := t.Ports.Allocate(ctx, t.dryRun)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort: %w", err))
		}
		t.tookPorts = append(t.tookPorts, p)
		t.service.Spec.HealthCheckNodePort = p
	case !slices.Contains(had, p):
		if err := t.Ports.Take(ctx, p, t.dryRun); err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %d: %w", p, err))
		}
		t.tookPorts = append(t.tookPorts, p)
	}
	return nil
}

// release gives back what gone had and kept, which may be nil, has not.
func (h *Hook) release(ctx context.Context, gone, kept *corev1.Service) {
	ctx = context.WithoutCancel(ctx)
	for _, ip := range addresses(gone) {
		if !slices.Contains(addresses(kept), ip) {
			h.Addresses.Release(ctx, ip)
		}
	}
	still := nodePorts(kept)
	h.Ports.Release(ctx, slices.DeleteFunc(nodePorts(gone), func(p int32) bool { return slices.Contains(still, p) }))
}

func addresses(s *corev1.Service) []string {
	if s == nil || !core.ServiceNeedsClusterIP(s) || core.ServiceIsHeadless(s) {
		return nil
	}
	return s.Spec.ClusterIPs
}

func nodePorts(s *corev1.Service) []int32 {
	if s == nil {
		return nil
	}
	var out []int32
	for i := range s.Spec.Ports {
		if p := s.Spec.Ports[i].NodePort; p != 0 && core.ServiceHasNodePorts(s) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	if p := s.Spec.HealthCheckNodePort; p != 0 {
		out = append(out, p)
	}
	return out
}
