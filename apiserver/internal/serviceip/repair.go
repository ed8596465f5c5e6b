package serviceip

import (
	"context"
	"fmt"
	"math/big"
	"net/netip"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
)

// Repair makes the records agree with the services: each address has its
// IPAddress, each node port its bit, and nothing is held for a service that
// is gone. orphans are the addresses that were unowned at the repair before;
// an address is given back only when it was unowned twice, since a service is
// stored after its address is taken.
func (h *Hook) Repair(ctx context.Context, services *scheme.Resource, orphans map[string]bool) (map[string]bool, error) {
	owned := map[string]types.NamespacedName{}
	ports := new(big.Int)
	for _, obj := range h.Addresses.Reader.List(services, "") {
		s := obj.(*corev1.Service)
		for _, ip := range addresses(s) {
			if addr, err := netip.ParseAddr(ip); err == nil {
				owned[addr.String()] = types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
			}
		}
		for _, p := range nodePorts(s) {
			if p >= h.Ports.First && p <= h.Ports.Last {
				ports.SetBit(ports, h.Ports.bit(p), 1)
			}
		}
	}
	if err := h.repairPorts(ctx, ports); err != nil {
		return orphans, err
	}
	return h.repairAddresses(ctx, owned, orphans)
}

// repairPorts only adds: a set bit may belong to a write on its way.
func (h *Hook) repairPorts(ctx context.Context, used *big.Int) error {
	err := h.Ports.change(ctx, false, func(have *big.Int) error {
		before := new(big.Int).Set(have)
		have.Or(have, used)
		if have.Cmp(before) == 0 && have.Sign() != 0 {
			return errNothing
		}
		return nil
	})
	if err == errNothing {
		return nil
	}
	return err
}

var errNothing = fmt.Errorf("nothing to repair")

func (h *Hook) repairAddresses(ctx context.Context, owned map[string]types.NamespacedName, orphans map[string]bool) (map[string]bool, error) {
	a := h.Addresses
	next := map[string]bool{}
	have := map[string]bool{}
	for _, obj := range a.Reader.List(a.IPs, "") {
		ip := obj.(*networkingv1.IPAddress)
		have[ip.Name] = true
		if _, ok := owned[ip.Name]; ok || ip.Labels[labelManagedBy] != manager {
			continue
		}
		if orphans[ip.Name] {
			a.Log.Info("an address without a service is given back", zap.String("address", ip.Name))
			a.Release(ctx, ip.Name)
			continue
		}
		next[ip.Name] = true
	}
	for text, owner := range owned {
		if have[text] {
			continue
		}
		addr, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		err = a.Writer.CreateObject(ctx, a.IPs, object(addr, owner.Namespace, owner.Name))
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return orphans, fmt.Errorf("repair address %s of service %s: %w", text, owner, err)
		}
	}
	return next, nil
}
