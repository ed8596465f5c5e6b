package serviceip

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// Errors as Kubernetes words them.
var (
	errIPTaken   = errors.New("provided IP is already allocated")
	errIPRange   = errors.New("the provided network does not match the current range")
	errIPFull    = errors.New("range is full")
	errPortTaken = errors.New("provided port is already allocated")
	errPortsFull = errors.New("range is full")
)

// Labels of the IPAddress objects.
const (
	labelManagedBy = "ipaddress.kubernetes.io/managed-by"
	labelFamily    = "ipaddress.kubernetes.io/ip-family"
	manager        = "ipallocator.k8s.io"
)

// Writer creates and deletes objects as the server itself.
type Writer interface {
	CreateObject(ctx context.Context, r *scheme.Resource, obj scheme.Object) error
	DeleteObject(ctx context.Context, r *scheme.Resource, namespace, name string) error
}

// Addresses allocates from the ServiceCIDRs of the cluster.
type Addresses struct {
	Reader storage.Reader
	Store  storage.Store
	Writer Writer
	// IPs and CIDRs are ipaddresses and servicecidrs in the table.
	IPs, CIDRs *scheme.Resource
	// Default are the server's own ranges, in force before their ServiceCIDR
	// object is there.
	Default []netip.Prefix
	Log     *zap.Logger
}

// ranges lists the networks of a family in use.
func (a *Addresses) ranges(family corev1.IPFamily) []netip.Prefix {
	var out []netip.Prefix
	add := func(p netip.Prefix) {
		if p.Addr().Is4() == (family == corev1.IPv4Protocol) {
			out = append(out, p)
		}
	}
	for _, p := range a.Default {
		add(p)
	}
	for _, obj := range a.Reader.List(a.CIDRs, "") {
		c := obj.(*networkingv1.ServiceCIDR)
		if c.DeletionTimestamp != nil {
			continue
		}
		for _, text := range c.Spec.CIDRs {
			if p, err := netip.ParsePrefix(text); err == nil {
				add(p)
			}
		}
	}
	return out
}

// Take takes a chosen address.
func (a *Addresses) Take(ctx context.Context, ip string, s *corev1.Service, dryRun bool) error {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return errIPRange
	}
	family := corev1.IPv6Protocol
	if addr.Is4() {
		family = corev1.IPv4Protocol
	}
	for _, p := range a.ranges(family) {
		if p.Contains(addr) && usable(p, addr) {
			if dryRun {
				return nil // as Kubernetes, which checks the range alone
			}
			return a.create(ctx, addr, s, false)
		}
	}
	return errIPRange
}

// usable leaves out a network's own address and IPv4's broadcast address.
func usable(p netip.Prefix, addr netip.Addr) bool {
	if addr == p.Masked().Addr() {
		return false
	}
	return !addr.Is4() || addr != last(p)
}

// attempts at random addresses before all are gone through in order.
const attempts = 16

// Allocate takes any free address of the family.
func (a *Addresses) Allocate(ctx context.Context, family corev1.IPFamily, s *corev1.Service, dryRun bool) (string, error) {
	for _, p := range a.ranges(family) {
		size := hosts(p)
		if size == 0 {
			continue
		}
		reserved := staticBand(size)
		for range attempts {
			n := reserved + rand.Uint64N(size-reserved)
			if ip, err := a.try(ctx, p, n+1, s, dryRun); err == nil || !errors.Is(err, errIPTaken) {
				return ip, err
			}
		}
		// Busy: from a random place upwards, the static band last.
		start := rand.Uint64N(size - reserved)
		for i := range min(size, 1<<16) {
			n := (reserved + start + i) % size
			if ip, err := a.try(ctx, p, n+1, s, dryRun); err == nil || !errors.Is(err, errIPTaken) {
				return ip, err
			}
		}
	}
	return "", errIPFull
}

// try takes one address unless the cache knows it to be taken.
func (a *Addresses) try(ctx context.Context, p netip.Prefix, n uint64, s *corev1.Service, dryRun bool) (string, error) {
	addr := add(p.Masked().Addr(), n)
	if a.Store.Collection(a.IPs).Newest("", addr.String()) != nil {
		return "", errIPTaken
	}
	return addr.String(), a.create(ctx, addr, s, dryRun)
}

func (a *Addresses) create(ctx context.Context, addr netip.Addr, s *corev1.Service, dryRun bool) error {
	if dryRun {
		if a.Store.Collection(a.IPs).Newest("", addr.String()) != nil {
			return errIPTaken
		}
		return nil
	}
	err := a.Writer.CreateObject(ctx, a.IPs, object(addr, s.Namespace, s.Name))
	if apierrors.IsAlreadyExists(err) {
		return errIPTaken
	}
	return err
}

func object(addr netip.Addr, namespace, name string) *networkingv1.IPAddress {
	family := string(corev1.IPv6Protocol)
	if addr.Is4() {
		family = string(corev1.IPv4Protocol)
	}
	return &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: addr.String(), Labels: map[string]string{labelManagedBy: manager, labelFamily: family}},
		Spec:       networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: namespace, Name: name}},
	}
}

// Release gives an address back. Failures are logged: the repair at start and
// after finds what is left over.
func (a *Addresses) Release(ctx context.Context, ip string) {
	if addr, err := netip.ParseAddr(ip); err == nil {
		ip = addr.String()
	}
	if err := a.Writer.DeleteObject(ctx, a.IPs, "", ip); err != nil && !apierrors.IsNotFound(err) {
		a.Log.Warn("an address was not given back", zap.String("address", ip), zap.Error(err))
	}
}

// hosts is the number of usable addresses, as far as 64 bits tell.
func hosts(p netip.Prefix) uint64 {
	bits := p.Addr().BitLen() - p.Bits()
	if bits >= 63 {
		return 1<<63 - 1
	}
	n := uint64(1) << bits
	if p.Addr().Is4() {
		if n < 2 {
			return 0
		}
		return n - 2
	}
	return n - 1
}

// staticBand is the lower part of a range that is left to chosen addresses:
// a sixteenth, 16 to 256 addresses; nothing of small ranges.
func staticBand(size uint64) uint64 {
	band := max(16, min(256, size/16))
	if band >= size {
		return 0
	}
	return band
}

func add(addr netip.Addr, n uint64) netip.Addr {
	if addr.Is4() {
		b := addr.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
		return netip.AddrFrom4(b)
	}
	b := addr.As16()
	low := binary.BigEndian.Uint64(b[8:])
	sum := low + n
	binary.BigEndian.PutUint64(b[8:], sum)
	if sum < low {
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])+1)
	}
	return netip.AddrFrom16(b)
}

func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := range b {
		for bit := range 8 {
			if i*8+bit >= p.Bits() {
				b[i] |= 1 << (7 - bit)
			}
		}
	}
	addr, _ := netip.AddrFromSlice(b) // the length is an address's
	return addr
}
