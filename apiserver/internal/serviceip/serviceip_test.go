package serviceip

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/memory"
	"xebec.dev/apiserver/internal/watchcache"
)

func TestUsable(t *testing.T) {
	p := netip.MustParsePrefix("10.0.0.0/29")
	for ip, want := range map[string]bool{"10.0.0.0": false, "10.0.0.1": true, "10.0.0.6": true, "10.0.0.7": false} {
		if got := usable(p, netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	if n := hosts(p); n != 6 {
		t.Errorf("hosts %d, want 6", n)
	}
	if a := add(netip.MustParseAddr("fd00::ffff:ffff:ffff:ffff"), 1); a.String() != "fd00:0:0:1::" {
		t.Errorf("carry: %s", a)
	}
}

func TestStaticBand(t *testing.T) {
	for size, want := range map[uint64]uint64{6: 0, 14: 0, 254: 16, 65534: 256, 4094: 255} {
		if got := staticBand(size); got != want {
			t.Errorf("size %d: band %d, want %d", size, got, want)
		}
	}
}

// writer stores IPAddresses as the server's own writer does.
type writer struct{ store storage.Store }

func (w writer) CreateObject(ctx context.Context, r *scheme.Resource, obj scheme.Object) error {
	raw, err := obj.Marshal()
	if err != nil {
		return err
	}
	_, err = w.store.Collection(r).Create(ctx, obj.GetNamespace(), obj.GetName(), raw, 0)
	return err
}

func (w writer) DeleteObject(ctx context.Context, r *scheme.Resource, namespace, name string) error {
	c := w.store.Collection(r)
	old, err := c.Get(ctx, namespace, name, storage.Fresh, 0)
	if err == nil {
		_, err = c.Delete(ctx, old)
	}
	return err
}

// TestRepair: what nobody has is given back at the second repair that finds it
// so, addresses and node ports alike; what a service has is never.
func TestRepair(t *testing.T) {
	table := builtin.Scheme()
	resource := func(group, plural string) *scheme.Resource {
		r, ok := table.Resource(group, plural)
		if !ok {
			t.Fatalf("no %s", plural)
		}
		return r
	}
	services, ips := resource("", "services"), resource("networking.k8s.io", "ipaddresses")
	store := watchcache.New(memory.New(), append(table.Resources(), Ranges), watchcache.Options{Wait: time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- store.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	for deadline := time.Now().Add(time.Minute); store.Ready(ctx) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(store.Ready(ctx))
		}
	}
	h := &Hook{
		Addresses: &Addresses{
			Reader: store, Store: store, Writer: writer{store}, IPs: ips, CIDRs: resource("networking.k8s.io", "servicecidrs"),
			Default: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, Log: zap.NewNop(),
		},
		Ports: &Ports{Store: store, First: 30000, Last: 30099, Log: zap.NewNop()},
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s"}}
	leaked := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "leaked"}}
	take := func(s *corev1.Service, ip string, port int32) {
		if err := h.Addresses.Take(ctx, ip, s, false); err != nil {
			t.Fatal(err)
		}
		if err := h.Ports.Take(ctx, port, false); err != nil {
			t.Fatal(err)
		}
	}
	take(service, "10.0.0.7", 30007)
	take(leaked, "10.0.0.8", 30008)
	service.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeNodePort, ClusterIP: "10.0.0.7", ClusterIPs: []string{"10.0.0.7"},
		Ports: []corev1.ServicePort{{Port: 80, NodePort: 30007}, {Port: 81, NodePort: 30009}},
	}
	raw, err := service.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Collection(services).Create(ctx, "n", "s", raw, 0); err != nil {
		t.Fatal(err)
	}
	held := func() string {
		var out []string
		for _, p := range []int32{30007, 30008, 30009} {
			if h.Ports.Take(ctx, p, true) != nil {
				out = append(out, strconv.Itoa(int(p)))
			}
		}
		for _, ip := range []string{"10.0.0.7", "10.0.0.8"} {
			if _, err := store.Collection(ips).Get(ctx, "", ip, storage.Fresh, 0); err == nil {
				out = append(out, ip)
			}
		}
		return strings.Join(out, " ")
	}
	var orphans Orphans
	for i, want := range []string{"30007 30008 30009 10.0.0.7 10.0.0.8", "30007 30009 10.0.0.7", "30007 30009 10.0.0.7"} {
		if orphans, err = h.Repair(ctx, services, orphans); err != nil {
			t.Fatal(err)
		}
		if got := held(); got != want {
			t.Errorf("after repair %d: %s, want %s", i+1, got, want)
		}
	}
}
