package iptables

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zaptest"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/nfacct"
	"xebec.dev/kube-proxy/internal/nftables"
	"xebec.dev/kube-proxy/internal/testnet"
)

// world is a node with the rules of a Proxy.
type world struct {
	*testnet.World
	proxy *Proxy
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{World: testnet.NewWorld(t)}
	w.proxy = w.another(t)
	return w
}

// another is a Proxy at the same node: one that has been started anew.
func (w *world) another(t testing.TB) (p *Proxy) {
	t.Helper()
	w.Node.In(t, func() (err error) {
		p, err = New(podsOf("10.244.0.0/16", "fd44::/56"), NewMetrics(), zaptest.NewLogger(t))
		return err
	})
	return p
}

func (w *world) sync(t testing.TB, u *compile.Update) {
	t.Helper()
	w.Node.In(t, func() error { return w.proxy.Sync(u) })
}

// saved are the rules that the kernel has.
func (w *world) saved(t testing.TB) (out string) {
	t.Helper()
	w.Node.In(t, func() error {
		for _, v4 := range []bool{true, false} {
			text, err := execute("", program(v4, "-save"))
			if err != nil {
				return err
			}
			out += text
		}
		return nil
	})
	return out
}

// TestPaths: all that the other modes do, but that ports which a service has
// not are left alone, as in Kubernetes' mode.
func TestPaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	testnet.Paths(t, w.World, w.sync, testnet.OtherPort)
	for _, text := range []string{"-m statistic --mode random --probability 0.5", ":KUBE-PROXY-CANARY", "-A KUBE-FORWARD -m conntrack --ctstate INVALID "} {
		if !strings.Contains(w.saved(t), text) {
			t.Errorf("no %q in\n%s", text, w.saved(t))
		}
	}
}

// TestChurn: connections find an endpoint while endpoints come and go, and
// afterwards there are the rules of what is there and no others.
func TestChurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Meet(t)
	var all []string
	for port := 8080; port < 8084; port++ {
		testnet.Serve(t, w.Pod, fmt.Sprint(port), fmt.Sprint(":", port))
		all = append(all, fmt.Sprint("10.244.0.2:", port))
	}
	web := func(endpoints []string) *compile.Service {
		return testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, endpoints...)))
	}
	old := web(all)
	w.sync(t, testnet.Full(old))
	before := w.saved(t)
	done := make(chan error, 1)
	go func() { done <- testnet.DialMany(w.Other, "10.96.0.1:80", 300) }()
	for i := range 24 {
		now := web(all[:i%4+1])
		w.sync(t, testnet.Change(old, now))
		old = now
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if rules(before) != rules(w.saved(t)) {
		t.Errorf("the same services are\n%s\nand were\n%s", w.saved(t), before)
	}
	// A process that is started anew does not know what was there.
	w.proxy = w.another(t)
	w.sync(t, testnet.Full(testnet.Service("x/other", testnet.Frontend(compile.ClusterIP, "10.96.0.2:80", testnet.PoolOf(compile.OffCluster, all[0])))))
	if got := w.saved(t); strings.Contains(got, "x/web") || strings.Count(got, ":KUBE-SEP-") != 1 || strings.Count(got, "-A PREROUTING") != 2 {
		t.Errorf("x/other alone is\n%s", got)
	}
	if err := testnet.DialMany(w.Other, "10.96.0.2:80", 5); err != nil {
		t.Error(err)
	}
}

// rules of a listing, without counters and times.
func rules(saved string) string {
	var out []string
	for line := range strings.Lines(saved) {
		if strings.HasPrefix(line, "-A") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// TestAffinity: a client stays with its endpoint until that goes.
func TestAffinity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Meet(t)
	var all []string
	for port := 8080; port < 8084; port++ {
		testnet.Serve(t, w.Pod, fmt.Sprint("10.244.0.2:", port), fmt.Sprint(":", port))
		all = append(all, fmt.Sprint("10.244.0.2:", port))
	}
	web := func(endpoints []string) *compile.Service {
		s := testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, endpoints...)))
		s.Frontends[0].Affinity = time.Hour
		return s
	}
	ask := func() string {
		t.Helper()
		seen, err := testnet.Call(w.Other, "", "10.96.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		return testnet.Who(seen)
	}
	old := web(all)
	w.sync(t, testnet.Full(old))
	for len(all) > 1 {
		mine := ask()
		for range 10 {
			if got := ask(); got != mine {
				t.Fatalf("%s, and then %s", mine, got)
			}
		}
		for i, a := range all {
			if a == mine {
				all = append(all[:i:i], all[i+1:]...)
				break
			}
		}
		now := web(all)
		w.sync(t, testnet.Change(old, now))
		old = now
	}
}

// TestLoopback: node ports answer at the node's loopback address, and others
// reach none there.
func TestLoopback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	testnet.Serve(t, w.Pod, "pod", ":8080")
	testnet.Serve(t, w.Node, "secret", "127.0.0.1:7000")
	u := testnet.Full(testnet.Service("x/web", testnet.Frontend(compile.NodePort, "0.0.0.0:30080", testnet.PoolOf(compile.Always, "10.244.0.2:8080"))))
	u.NodePorts = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	// The neighbour's own loopback is not in its way to the node's.
	for _, s := range []testnet.Space{w.Node, w.Outside} {
		s.In(t, func() error { return os.WriteFile("/proc/sys/net/ipv4/conf/all/route_localnet", []byte("1"), 0o644) })
	}
	w.Outside.In(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		own, err := netlink.ParseAddr("127.0.0.1/8")
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrDel(lo, own), testnet.Route("127.0.0.0/8", "192.168.9.1"))
	})
	if seen, err := testnet.Call(w.Outside, "192.168.9.2", "127.0.0.1:7000"); err != nil || testnet.Who(seen) != "secret" {
		t.Fatalf("without rules the setting lets outsiders in, and so the test sees nothing: %q, %v", seen, err)
	}
	w.sync(t, u)
	for _, to := range []string{"127.0.0.1:30080", "192.168.9.1:30080", "10.244.0.1:30080"} {
		if seen, err := testnet.Call(w.Node, "", to); err != nil || testnet.Who(seen) != "pod" {
			t.Errorf("%s: %q, %v", to, seen, err)
		}
	}
	if seen, err := testnet.Call(w.Outside, "192.168.9.2", "127.0.0.1:7000"); err == nil {
		t.Errorf("from outside the node's loopback address answers %q", seen)
	}
	w.counts(t, counterLoopback, 1) // the first of the three
	u = testnet.Full()
	u.Full, u.NodePorts = false, testnet.Prefixes("192.168.9.1/32")
	w.sync(t, u)
	if _, err := testnet.Call(w.Node, "", "127.0.0.1:30080"); err == nil {
		t.Error("a node port answers at an address that is none of nodePortAddresses")
	}
}

// counts waits until the kernel has counted so many packets; where it can't
// count the rules don't.
func (w *world) counts(t *testing.T, counter string, want uint64) {
	t.Helper()
	if !w.proxy.o.counts {
		t.Log("packets are not counted here")
		return
	}
	w.Node.In(t, func() error {
		var n uint64
		var err error
		for deadline := time.Now().Add(20 * time.Second); n < want && err == nil && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			n, err = nfacct.Packets(counter)
		}
		if err == nil && n != want {
			err = fmt.Errorf("%s is %d, want %d", counter, n, want)
		}
		return err
	})
}

// TestInvalid: what conntrack makes nothing of is dropped, and counted; the
// metrics say so, and nothing is left of them after a cleanup.
func TestInvalid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Meet(t)
	w.sync(t, testnet.Full())
	w.Other.In(t, func() error {
		c, err := net.Dial("ip4:tcp", "10.244.0.2")
		if err != nil {
			return err
		}
		defer c.Close()
		for range 3 {
			// Ports, numbers, a header of 20 bytes, SYN with RST.
			if _, err := c.Write([]byte{0x10, 1, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, 0x06, 1, 0, 0, 0, 0, 0}); err != nil {
				return err
			}
		}
		return nil
	})
	w.counts(t, counterInvalid, 3)
	if !w.proxy.o.counts {
		return
	}
	metrics := func() (out string) {
		// Not by a registry: it asks in goroutines, which are in another namespace.
		ch := make(chan prometheus.Metric, 8)
		w.Node.In(t, func() error { w.proxy.metrics.packets.Collect(ch); return nil })
		close(ch)
		for m := range ch {
			var d dto.Metric
			if err := m.Write(&d); err != nil {
				t.Fatal(err)
			}
			out += fmt.Sprint(m.Desc(), " ", d.Counter.GetValue(), "\n")
		}
		return out
	}
	if got := metrics(); !strings.Contains(got, `"kubeproxy_iptables_ct_state_invalid_dropped_packets_total"`) || !strings.Contains(got, " 3\n") ||
		!strings.Contains(got, `"kubeproxy_iptables_localhost_nodeports_accepted_packets_total"`) {
		t.Errorf("the metrics are\n%s", got)
	}
	if saved := w.saved(t); strings.Contains(saved, probe) {
		t.Errorf("the chain that tries is there still:\n%s", saved)
	}
	// A process that is started anew goes on counting.
	w.proxy = w.another(t)
	w.sync(t, testnet.Full())
	w.counts(t, counterInvalid, 3)
	w.Node.In(t, Cleanup)
	if got := metrics(); got != "" {
		t.Errorf("after a cleanup the metrics are\n%s", got)
	}
	// A program that runs through a cleanup writes its rules again.
	w.sync(t, testnet.Full())
	w.counts(t, counterInvalid, 0)
}

// TestFlushed: what somebody else flushes is noticed and written anew.
func TestFlushed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	testnet.Serve(t, w.Pod, "pod", ":8080")
	u := testnet.Full(testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, "10.244.0.2:8080"))))
	w.sync(t, u)
	w.Node.In(t, w.proxy.Check)
	w.Node.In(t, func() error {
		_, err := execute("*nat\nCOMMIT\n", "iptables-restore")
		return err
	})
	w.Node.In(t, func() error {
		if err := w.proxy.Check(); err == nil || !strings.Contains(err.Error(), "nat") {
			return fmt.Errorf("a flushed table is not noticed: %v", err)
		}
		if err := w.proxy.Sync(testnet.Change(nil, u.Changes[0].New)); err == nil {
			return fmt.Errorf("a change was written where everything has to be")
		}
		return nil
	})
	w.sync(t, u)
	if err := testnet.DialMany(w.Other, "10.96.0.1:80", 3); err != nil {
		t.Error(err)
	}
}

// TestCleanup: nothing of ours is left, and what is others' stays.
func TestCleanup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Node.In(t, func() error {
		_, err := execute("", "iptables", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "1", "-j", "ACCEPT")
		return err
	})
	w.sync(t, testnet.Full(testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, "10.244.0.2:8080")),
		testnet.Frontend(compile.ClusterIP, "[fd96::1]:80", testnet.PoolOf(compile.OffCluster, "[fd44::2]:8080")))))
	if !strings.Contains(w.saved(t), "KUBE-") {
		t.Fatal("no rules")
	}
	w.Node.In(t, Cleanup)
	if got := w.saved(t); strings.Contains(got, "KUBE-") || !strings.Contains(got, "--dport 1 -j ACCEPT") {
		t.Errorf("left\n%s", got)
	}
	w.Node.In(t, Cleanup) // nothing is there
}

// TestModes: after this mode comes another one, and the other way round; the
// service answers all the time.
func TestModes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Meet(t)
	testnet.Serve(t, w.Pod, "pod", ":8080")
	u := testnet.Full(testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, "10.244.0.2:8080"))))
	w.sync(t, u)
	done := make(chan error, 1)
	go func() { done <- testnet.DialMany(w.Other, "10.96.0.1:80", 200) }()
	var other *nftables.Proxy
	w.Node.In(t, func() (err error) {
		if other, err = nftables.New(nftables.Options{Pods: podsOf("10.244.0.0/16").Pods}); err != nil {
			return err
		}
		if err := other.Sync(u); err != nil {
			return err
		}
		return Cleanup()
	})
	defer other.Close()
	if err := testnet.DialMany(w.Other, "10.96.0.1:80", 5); err != nil {
		t.Error("nftables alone:", err)
	}
	w.proxy = w.another(t)
	w.sync(t, u)
	w.Node.In(t, nftables.Cleanup)
	if err := testnet.DialMany(w.Other, "10.96.0.1:80", 5); err != nil {
		t.Error("iptables alone:", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestUDP: datagrams find their endpoint too.
func TestUDP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	testnet.ServeUDP(t, w.Pod, "pod", ":5353")
	f := testnet.Frontend(compile.ClusterIP, "10.96.0.1:53", testnet.PoolOf(compile.OffCluster, "10.244.0.2:5353"))
	f.Protocol = 17
	w.sync(t, testnet.Full(testnet.Service("x/dns", f)))
	var c net.Conn
	w.Other.In(t, func() (err error) { c, err = net.Dial("udp", "10.96.0.1:53"); return err })
	defer c.Close()
	if err := testnet.AskUDP(c, "pod"); err != nil {
		t.Error(err)
	}
}

// TestPolicies: three nodes, each with its own rules.
func TestPolicies(t *testing.T) {
	t.Parallel()
	c := testnet.NewCluster(t)
	for _, n := range c.Nodes {
		n.Space.In(t, func() error {
			p, err := New(podsOf("10.244.0.0/16"), NewMetrics(), zaptest.NewLogger(t))
			if err == nil {
				n.Sync = p.Sync
			}
			return err
		})
	}
	testnet.Policies(t, c)
}
