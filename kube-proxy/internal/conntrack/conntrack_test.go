package conntrack

import (
	"context"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

func service(protocol uint8, endpoints ...string) *compile.Service {
	var p compile.Pool
	for _, e := range endpoints {
		p.Backends = append(p.Backends, compile.Backend{Endpoint: compile.EndpointOf(netip.MustParseAddrPort(e))})
	}
	return &compile.Service{Name: "x/dns", Frontends: []compile.Frontend{
		{Kind: compile.ClusterIP, Addr: netip.MustParseAddr("10.96.0.10"), Protocol: protocol, Port: 53, V4: true, Pool: p},
		{Kind: compile.NodePort, Protocol: protocol, Port: 30053, V4: true, Pool: p},
	}}
}

// flow puts an entry into the kernel: "SRC DST > ANSWERED BY".
func flow(t *testing.T, protocol uint8, from, to, by string) {
	t.Helper()
	src, dst, end := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to), netip.MustParseAddrPort(by)
	f := &netlink.ConntrackFlow{
		FamilyType: unix.AF_INET, TimeOut: 1000,
		Forward: netlink.IPTuple{SrcIP: src.Addr().AsSlice(), SrcPort: src.Port(), DstIP: dst.Addr().AsSlice(), DstPort: dst.Port(), Protocol: protocol},
		Reverse: netlink.IPTuple{SrcIP: end.Addr().AsSlice(), SrcPort: end.Port(), DstIP: src.Addr().AsSlice(), DstPort: src.Port(), Protocol: protocol},
	}
	if protocol == unix.IPPROTO_TCP {
		f.ProtoInfo = &netlink.ProtoInfoTCP{State: 3}
	}
	if err := netlink.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, f); err != nil {
		t.Fatalf("make an entry (needs root): %v", err)
	}
}

func flows(t *testing.T) string {
	t.Helper()
	all, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range all {
		out = append(out, netip.AddrPortFrom(addrOf(f.Forward.DstIP), f.Forward.DstPort).String()+">"+netip.AddrPortFrom(addrOf(f.Reverse.SrcIP), f.Reverse.SrcPort).String())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestStaleEntriesGo(t *testing.T) {
	runtime.LockOSThread() // the thread ends with the test
	h, err := netns.New()
	if err != nil {
		t.Fatalf("make a network namespace (needs root): %v", err)
	}
	defer h.Close()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	a, err := netlink.ParseAddr("192.168.9.1/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(lo, a); err != nil {
		t.Fatal(err)
	}
	const udp = unix.IPPROTO_UDP
	flow(t, udp, "10.244.0.9:1001", "10.96.0.10:53", "10.244.0.2:53")
	flow(t, udp, "10.244.0.9:1002", "10.96.0.10:53", "10.244.0.3:53")
	flow(t, udp, "10.244.0.9:1003", "10.96.0.10:53", "10.96.0.10:53") // of before there were endpoints
	flow(t, udp, "10.1.1.1:1004", "192.168.9.1:30053", "10.244.0.3:53")
	flow(t, udp, "10.1.1.1:1005", "192.168.9.7:30053", "192.168.9.7:30053") // another machine's
	flow(t, udp, "10.1.1.1:1006", "10.96.0.11:53", "10.244.0.3:53")         // another service
	flow(t, unix.IPPROTO_TCP, "10.1.1.1:1007", "10.96.0.10:53", "10.244.0.3:53")
	const others = " 10.96.0.11:53>10.244.0.3:53 "
	nodes := []netip.Prefix{netip.MustParsePrefix("192.168.9.1/32")}
	both, one, none := service(udp, "10.244.0.2:53", "10.244.0.3:53"), service(udp, "10.244.0.2:53"), service(udp)
	for _, step := range []struct {
		name     string
		full     bool
		old, now *compile.Service
		want     string
	}{
		{"a restart takes only what leads nowhere", true, nil, both, "10.96.0.10:53>10.244.0.2:53 10.96.0.10:53>10.244.0.3:53 10.96.0.10:53>10.244.0.3:53" + others + "192.168.9.1:30053>10.244.0.3:53 192.168.9.7:30053>192.168.9.7:30053"},
		{"an endpoint goes", false, both, one, "10.96.0.10:53>10.244.0.2:53 10.96.0.10:53>10.244.0.3:53" + others + "192.168.9.7:30053>192.168.9.7:30053"},
		{"an endpoint comes", false, one, both, "10.96.0.10:53>10.244.0.2:53 10.96.0.10:53>10.244.0.3:53" + others + "192.168.9.7:30053>192.168.9.7:30053"},
		{"the last one goes", false, both, none, "10.96.0.10:53>10.244.0.3:53" + others + "192.168.9.7:30053>192.168.9.7:30053"},
	} {
		c := New(zap.NewNop())
		c.Changed(&compile.Update{Full: step.full, Changes: []compile.Change{{Name: "x/dns", Old: step.old, New: step.now}}, NodePorts: nodes})
		if err := c.clean(); err != nil {
			t.Fatal(err)
		}
		if got := flows(t); got != step.want {
			t.Errorf("%s:\n got %s\nwant %s", step.name, got, step.want)
		}
		if len(c.todo) > 0 {
			t.Errorf("%s: left to do: %v", step.name, c.todo)
		}
	}
	// The first endpoint comes: what went to the address itself must not stay.
	flow(t, udp, "10.244.0.9:1003", "10.96.0.10:53", "10.96.0.10:53")
	c := New(zap.NewNop())
	c.Changed(&compile.Update{Changes: []compile.Change{{Old: none, New: one}}, NodePorts: nodes})
	if err := c.clean(); err != nil {
		t.Fatal(err)
	}
	if got := flows(t); strings.Contains(got, "10.96.0.10:53>10.96.0.10:53") {
		t.Errorf("the first endpoint: %s", got)
	}
	// The service goes.
	flow(t, udp, "10.244.0.9:1001", "10.96.0.10:53", "10.244.0.2:53")
	c.Changed(&compile.Update{Changes: []compile.Change{{Old: one}}, NodePorts: nodes})
	if err := c.clean(); err != nil {
		t.Fatal(err)
	}
	if got := flows(t); strings.Contains(got, "10.244.0.2") {
		t.Errorf("the service went: %s", got)
	}
}

// TestRun: Changed has Run do it, and Run ends.
func TestRun(t *testing.T) {
	c := New(zap.NewNop())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	// TCP alone is nothing to do.
	c.Changed(&compile.Update{Changes: []compile.Change{{New: service(unix.IPPROTO_TCP, "10.244.0.2:53")}}})
	c.mu.Lock()
	todo := len(c.todo)
	c.mu.Unlock()
	if todo != 0 {
		t.Errorf("%d places to look at", todo)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
