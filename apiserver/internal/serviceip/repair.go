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
	"xebec.dev/apiserver/internal/storage"
)

// Orphans are what no service had at the repair before. Only what is an orphan
// twice is given back, since a service is stored after its address and its
// ports are taken.
type Orphans struct {
	addresses map[string]bool
	ports     *big.Int
}

// Repair makes the records agree with the services: each address has its
// IPAddress, each node port its bit, and nothing is held for a service that
// is gone.
func (h *Hook) Repair(ctx context.Context, services *scheme.Resource, before Orphans) (next Orphans, err error) {
	// An old copy of the services would make orphans of what newer ones have.
	if _, err := h.Ports.Store.Collection(services).List(ctx, storage.ListOptions{Match: storage.Fresh, Limit: 1}); err != nil {
		return before, fmt.Errorf("read the services: %w", err)
	}
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
	if next.ports, err = h.repairPorts(ctx, ports, before.ports); err != nil {
		return before, err
	}
	if next.addresses, err = h.repairAddresses(ctx, owned, before.addresses); err != nil {
		return before, err
	}
	return next, nil
}

// repairPorts sets the bits of all ports in use, clears those that were
// nobody's before and still are, and gives those that are nobody's now.
func (h *Hook) repairPorts(ctx context.Context, used, orphans *big.Int) (*big.Int, error) {
	next := new(big.Int)
	err := h.Ports.change(ctx, false, func(have *big.Int) error {
		before := new(big.Int).Set(have)
		nobodys := new(big.Int).AndNot(have, used)
		if orphans != nil {
			again := new(big.Int).And(nobodys, orphans)
			nobodys.AndNot(nobodys, again)
			have.AndNot(have, again)
		}
		next.Set(nobodys)
		have.Or(have, used)
		if have.Cmp(before) == 0 && have.Sign() != 0 {
			return errNothing
		}
		return nil
	})
	if err == errNothing {
		err = nil
	}
	return next, err
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
