//go:build vm

// These tests need a kernel with IPVS: test/vm has one.
package ipvs

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	nft "github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/nftables"
	"xebec.dev/kube-proxy/internal/testnet"
)

// world has a Proxy on its node.
type world struct {
	*testnet.World
	proxy *Proxy
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{World: testnet.NewWorld(t)}
	w.restart(t)
	t.Cleanup(func() { _ = w.proxy.Close() })
	return w
}

func options() Options {
	return Options{Options: nftables.Options{Pods: nftables.Pods{Networks: testnet.Prefixes("10.244.0.0/16", "fd44::/56")}}}
}

// restart has another process take over.
func (w *world) restart(t testing.TB) {
	t.Helper()
	w.Node.In(t, func() (err error) {
		if w.proxy != nil {
			if err := w.proxy.Close(); err != nil {
				return err
			}
		}
		w.proxy, err = New(options())
		return err
	})
}

func (w *world) sync(t testing.TB, u *compile.Update) {
	t.Helper()
	if err := w.proxy.Sync(u); err != nil {
		t.Fatal(err)
	}
}

func (w *world) servers(t testing.TB, at string) map[string]int {
	t.Helper()
	a := testnet.Frontend(compile.ClusterIP, at, compile.Pool{})
	all, err := w.proxy.kernel.Virtuals()
	if err != nil {
		t.Fatal(err)
	}
	h := all[Key{Addr: a.Addr, Port: a.Port, Protocol: unix.IPPROTO_TCP, V4: a.V4}]
	if h == nil {
		t.Fatalf("no virtual server %s in %v", at, all)
	}
	out := map[string]int{}
	for s, weight := range h.Servers {
		out[s.String()] = weight
	}
	return out
}

func TestPaths(t *testing.T) {
	w := newWorld(t)
	testnet.Paths(t, w.World, w.sync)
	if err := w.proxy.Check(); err != nil {
		t.Error(err)
	}
}

// TestRoundRobin: each of three servers has its turn.
func TestRoundRobin(t *testing.T) {
	w := newWorld(t)
	var all []string
	for port := 8080; port < 8083; port++ {
		testnet.Serve(t, w.Pod, fmt.Sprint(port), fmt.Sprint(":", port))
		all = append(all, fmt.Sprint("10.244.0.2:", port))
	}
	w.sync(t, testnet.Full(testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, all...)))))
	for _, from := range []string{"other", "node", "outside"} {
		turns := map[string]int{}
		for range 12 {
			seen, err := testnet.Call(w.Space(from), "", "10.96.0.1:80")
			if err != nil {
				t.Fatal(err)
			}
			turns[testnet.Who(seen)]++
		}
		if turns["8080"] != 4 || turns["8081"] != 4 || turns["8082"] != 4 {
			t.Errorf("from %s: %v", from, turns)
		}
	}
}

func echo(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	buf := []byte("still here")
	if _, err := c.Write(buf); err != nil {
		return err
	}
	_, err := io.ReadFull(c, buf)
	return err
}

func connect(t *testing.T, s testnet.Space, to string) (c net.Conn) {
	t.Helper()
	s.In(t, func() (err error) { c, err = net.DialTimeout("tcp", to, 10*time.Second); return err })
	t.Cleanup(func() { c.Close() })
	return c
}

// TestDrainAndRestart: connections to an endpoint that goes live on, over a
// restart too; new ones go elsewhere; an endpoint that comes back has its
// weight again; the one that has gone goes with its last connection.
func TestDrainAndRestart(t *testing.T) {
	w := newWorld(t)
	for _, pod := range []testnet.Space{w.Pod, w.Other} {
		testnet.Echo(t, pod, ":7")
	}
	of := func(endpoints ...string) *compile.Service {
		return testnet.Service("x/echo", testnet.Frontend(compile.ClusterIP, "10.96.0.7:7", testnet.PoolOf(compile.OffCluster, endpoints...)))
	}
	const one, two = "10.244.0.2:7", "10.244.0.3:7"
	both := of(one, two)
	w.sync(t, testnet.Full(both))
	var conns []net.Conn
	for range 4 {
		conns = append(conns, connect(t, w.Outside, "10.96.0.7:7"))
	}
	alive := func(step string) {
		t.Helper()
		for i, c := range conns {
			if err := echo(c); err != nil {
				t.Fatalf("%s: connection %d: %v", step, i, err)
			}
		}
		if err := w.proxy.drain(); err != nil {
			t.Fatal(err)
		}
	}
	weights := func(step, want string) {
		t.Helper()
		if got := fmt.Sprint(w.servers(t, "10.96.0.7:7")); got != want {
			t.Fatalf("%s: %s, want %s", step, got, want)
		}
	}
	alive("both")
	left := of(one)
	w.sync(t, testnet.Change(both, left))
	alive("two drains")
	weights("two drains", "map[10.244.0.2:7:1 10.244.0.3:7:0]")
	w.restart(t)
	w.sync(t, testnet.Full(left))
	alive("after a restart")
	weights("after a restart", "map[10.244.0.2:7:1 10.244.0.3:7:0]")
	w.restart(t)
	w.sync(t, testnet.Full(both))
	alive("two is back")
	weights("two is back", "map[10.244.0.2:7:1 10.244.0.3:7:1]")
	// All endpoints go: new connections are refused at once, old ones live.
	none := of()
	w.sync(t, testnet.Change(both, none))
	alive("both drain")
	if seen, err := testnet.Call(w.Outside, "", "10.96.0.7:7"); err == nil {
		t.Errorf("a service without endpoints answers %s", seen)
	}
	w.sync(t, testnet.Change(none, left))
	// The kernel remembers an ended connection for a while, and it counts: ten
	// seconds after a reset, two minutes after an orderly end.
	for _, c := range conns {
		if err := c.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	for deadline := time.Now().Add(100 * time.Second); len(w.servers(t, "10.96.0.7:7")) > 1; {
		if time.Now().After(deadline) {
			t.Fatal("a server without connections stays", w.servers(t, "10.96.0.7:7"))
		}
		time.Sleep(time.Second)
		if err := w.proxy.drain(); err != nil {
			t.Fatal(err)
		}
	}
	weights("in the end", "map[10.244.0.2:7:1]")
}

// TestRestartUnderLoad: processes come and go under connections; none fails.
func TestRestartUnderLoad(t *testing.T) {
	w := newWorld(t)
	testnet.Serve(t, w.Pod, "web", ":8080")
	all := testnet.Full(testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, "10.244.0.2:8080"))))
	w.sync(t, all)
	done := make(chan error, 1)
	go func() { done <- testnet.DialMany(w.Other, "10.96.0.1:80", 60) }()
	for restarts := 0; ; restarts++ {
		select {
		case err := <-done:
			if err != nil || restarts == 0 {
				t.Error(restarts, " restarts: ", err)
			}
			return
		default:
			w.restart(t)
			w.sync(t, all)
		}
	}
}

// TestPersistence: a client stays with its server until that goes.
func TestPersistence(t *testing.T) {
	w := newWorld(t)
	var all []string
	names := map[string]string{}
	for port := 8080; port < 8083; port++ {
		testnet.Serve(t, w.Pod, fmt.Sprint(port), fmt.Sprint(":", port))
		names[fmt.Sprint(port)] = fmt.Sprint("10.244.0.2:", port)
		all = append(all, names[fmt.Sprint(port)])
	}
	of := func(all []string) *compile.Service {
		outside := testnet.PoolOf(compile.Never, all...)
		lb := testnet.Frontend(compile.External, "203.0.113.1:80", testnet.PoolOf(compile.OffCluster, all...))
		lb.Outside = &outside
		s := testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, all...)),
			testnet.Frontend(compile.NodePort, "0.0.0.0:30080", testnet.PoolOf(compile.Always, all...)), lb)
		for i := range s.Frontends {
			s.Frontends[i].Affinity = time.Hour
		}
		return s
	}
	s := of(all)
	w.sync(t, testnet.Full(s))
	for _, c := range []struct{ from, to string }{
		{"other", "10.96.0.1:80"}, {"outside", "192.168.9.1:30080"}, {"outside", "203.0.113.1:80"}, {"other", "203.0.113.1:80"},
	} {
		ask := func() string {
			t.Helper()
			seen, err := testnet.Call(w.Space(c.from), "", c.to)
			if err != nil {
				t.Fatal(c, err)
			}
			return testnet.Who(seen)
		}
		mine := ask()
		for range 6 {
			if got := ask(); got != mine {
				t.Errorf("%v: %s and then %s", c, mine, got)
			}
		}
		var rest []string
		for _, e := range all {
			if e != names[mine] {
				rest = append(rest, e)
			}
		}
		fewer := of(rest)
		w.sync(t, testnet.Change(s, fewer))
		if got := ask(); got == mine {
			t.Errorf("%v: still %s, which has gone", c, got)
		}
		w.sync(t, testnet.Change(fewer, s))
	}
}

// TestNodesOwn: an external address that is the node's own is not taken from
// it.
func TestNodesOwn(t *testing.T) {
	w := newWorld(t)
	testnet.Serve(t, w.Pod, "web", ":8080")
	testnet.Serve(t, w.Node, "node", ":9090")
	s := testnet.Service("x/web", testnet.Frontend(compile.External, "192.168.9.1:80", testnet.PoolOf(compile.Always, "10.244.0.2:8080")))
	w.sync(t, testnet.Full(s))
	for to, want := range map[string]string{"192.168.9.1:80": "web", "192.168.9.1:9090": "node"} {
		if seen, err := testnet.Call(w.Outside, "", to); err != nil || testnet.Who(seen) != want {
			t.Errorf("%s: %q, %v", to, seen, err)
		}
	}
	w.sync(t, testnet.Change(s, nil))
	if seen, err := testnet.Call(w.Outside, "", "192.168.9.1:9090"); err != nil {
		t.Error(seen, err)
	}
}

// TestNodeServices: what else listens on the node is not reached at the
// addresses of services.
func TestNodeServices(t *testing.T) {
	w := newWorld(t)
	testnet.Serve(t, w.Pod, "web", ":8080")
	testnet.Serve(t, w.Node, "ssh", ":22")
	w.sync(t, testnet.Full(testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, "10.244.0.2:8080")),
		testnet.Frontend(compile.External, "203.0.113.1:80", testnet.PoolOf(compile.Always, "10.244.0.2:8080")))))
	for _, from := range []string{"other", "outside", "node"} {
		for _, to := range []string{"10.96.0.1:22", "203.0.113.1:22"} {
			if seen, err := testnet.Call(w.Space(from), "", to); err == nil {
				t.Errorf("%s reaches %s at %s", from, seen, to)
			}
		}
	}
	if seen, err := testnet.Call(w.Outside, "", "192.168.9.1:22"); err != nil {
		t.Error(seen, err)
	}
}

// TestOthersPorts: who translates what comes to a port of the node, as host
// ports of pods do, does not get what comes to services.
func TestOthersPorts(t *testing.T) {
	w := newWorld(t)
	testnet.Serve(t, w.Pod, "web", ":8080")
	testnet.Serve(t, w.Node, "host-port", ":22")
	w.Node.In(t, func() error {
		c, err := nft.New()
		if err != nil {
			return err
		}
		table := c.AddTable(&nft.Table{Name: "others", Family: nft.TableFamilyIPv4})
		chain := c.AddChain(&nft.Chain{Table: table, Name: "ports", Type: nft.ChainTypeNAT, Hooknum: nft.ChainHookPrerouting, Priority: nft.ChainPriorityNATDest})
		c.AddRule(&nft.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 80}},
			&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
			&expr.Immediate{Register: 1, Data: []byte{192, 168, 9, 1}},
			&expr.Immediate{Register: 2, Data: []byte{0, 22}},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
		}})
		return c.Flush()
	})
	w.sync(t, testnet.Full(testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, "10.244.0.2:8080")))))
	for to, want := range map[string]string{"10.96.0.1:80": "web", "192.168.9.1:80": "host-port"} {
		for _, from := range []string{"other", "outside"} {
			if seen, err := testnet.Call(w.Space(from), "", to); err != nil || testnet.Who(seen) != want {
				t.Errorf("%s from %s: %q, %v", to, from, seen, err)
			}
		}
	}
}

func TestSCTP(t *testing.T) {
	w := newWorld(t)
	testnet.SCTP(t, w.World, w.sync)
}

func TestUDP(t *testing.T) {
	w := newWorld(t)
	for port, pod := range map[string]testnet.Space{":53": w.Pod, ":54": w.Other} {
		testnet.ServeUDP(t, pod, port, port)
	}
	of := func(endpoint string) *compile.Service {
		s := testnet.Service("x/dns", testnet.Frontend(compile.ClusterIP, "10.96.0.10:53", testnet.PoolOf(compile.OffCluster, endpoint)))
		s.Frontends[0].Protocol = unix.IPPROTO_UDP
		return s
	}
	one, two := of("10.244.0.2:53"), of("10.244.0.3:54")
	w.sync(t, testnet.Full(one))
	var c net.Conn
	w.Outside.In(t, func() (err error) { c, err = net.Dial("udp", "10.96.0.10:53"); return err })
	defer c.Close()
	expect := func(want string) {
		t.Helper()
		if err := testnet.AskUDP(c, want); err != nil {
			t.Fatal(err)
		}
	}
	expect(":53")
	// The same flow goes to the other endpoint, though it never paused.
	w.sync(t, testnet.Change(one, two))
	expect(":54")
}

// TestCleanup: nothing is left, but what is others'.
func TestCleanup(t *testing.T) {
	w := newWorld(t)
	w.sync(t, testnet.Full(testnet.Service("x/web", testnet.Frontend(compile.ClusterIP, "10.96.0.1:80", testnet.PoolOf(compile.OffCluster, "10.244.0.2:8080")),
		testnet.Frontend(compile.ClusterIP, "[fd96::1]:80", testnet.PoolOf(compile.OffCluster, "[fd44::2]:8080")),
		testnet.Frontend(compile.NodePort, "0.0.0.0:30080", testnet.PoolOf(compile.Always, "10.244.0.2:8080")))))
	others := Key{Addr: testnet.Prefixes("10.9.0.1/32")[0].Addr(), Port: 80, Protocol: unix.IPPROTO_TCP, V4: true}
	if err := w.proxy.kernel.Do(op{verb: addVirtual, key: others, scheduler: "rr"}); err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Exclude = testnet.Prefixes("10.9.0.0/16")
	for range 2 { // again, with nothing there
		w.Node.In(t, func() error {
			if err := nftables.Cleanup(); err != nil {
				return err
			}
			return Cleanup(o)
		})
	}
	w.Node.In(t, func() error {
		if _, err := net.InterfaceByName(Link); err == nil {
			return fmt.Errorf("%s is still there", Link)
		}
		all, err := w.proxy.kernel.Virtuals()
		if err != nil || len(all) != 1 || all[others] == nil {
			return fmt.Errorf("left: %v, %w", all, err)
		}
		return nil
	})
	if err := w.proxy.Check(); err == nil {
		t.Error("nothing is missed")
	}
}

// TestLoad: many services are written, changed, and taken over.
func TestLoad(t *testing.T) { load(t, 500) }

// BenchmarkTenThousand prints how long ten thousand services take.
//
//	BENCH=TenThousand RUN=none VM_SECONDS=1800 test/vm/run ipvs
func BenchmarkTenThousand(b *testing.B) {
	for b.Loop() {
		load(b, 10000)
	}
}

func load(t testing.TB, services int) {
	w := newWorld(t)
	u := testnet.Full()
	for n := range services {
		var endpoints []string
		for i := range 10 {
			endpoints = append(endpoints, fmt.Sprintf("10.%d.%d.%d:8080", 128+n/6000, n*10/250%250, n*10%250+i))
		}
		at := fmt.Sprintf("10.%d.%d.%d:80", 96+n/60000, n/250, 1+n%250)
		u.Changes = append(u.Changes, compile.Change{Name: at, New: testnet.Service(at, testnet.Frontend(compile.ClusterIP, at, testnet.PoolOf(compile.OffCluster, endpoints...)))})
	}
	started, used := time.Now(), processorTime()
	w.sync(t, u)
	t.Logf("%d services of 10 endpoints: %v, %v of them the processor's", services, time.Since(started), processorTime()-used)
	const changes = 50
	var all []time.Duration
	used = processorTime()
	for n := range changes {
		s := u.Changes[n*(services/changes)].New
		fewer := *s
		fewer.Frontends = []compile.Frontend{s.Frontends[0]}
		fewer.Frontends[0].Pool.Backends = s.Frontends[0].Pool.Backends[:9]
		began := time.Now()
		w.sync(t, testnet.Change(s, &fewer))
		all = append(all, time.Since(began))
		u.Changes[n*(services/changes)].New = &fewer
	}
	slices.Sort(all)
	t.Logf("one endpoint: p50 %v, p99 %v, most %v, the processor's %v", all[changes/2], all[changes*99/100], all[changes-1], (processorTime()-used)/changes)
	if got := w.servers(t, u.Changes[0].Name); len(got) != 10 || got["10.128.0.9:8080"] != 0 {
		t.Errorf("a service has %v, of which the last one should drain", got)
	}
	w.restart(t)
	started, used = time.Now(), processorTime()
	w.sync(t, u)
	t.Logf("after a restart: %v, the processor's %v", time.Since(started), processorTime()-used)
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	if len(w.proxy.has) != services {
		t.Errorf("%d virtual servers, want %d", len(w.proxy.has), services)
	}
}

// processorTime is this process', in user and kernel mode.
func processorTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(unix.TimevalToNsec(r.Utime) + unix.TimevalToNsec(r.Stime))
}

// TestRefused: a scheduler that the kernel has not got is told by name.
func TestRefused(t *testing.T) {
	testnet.NewSpace(t).In(t, func() error {
		o := options()
		o.Scheduler = "nonsense"
		_, err := New(o)
		if err == nil || !strings.Contains(err.Error(), "modprobe ip_vs_nonsense") {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
}

// TestSettings: the kernel is set up as the options say.
func TestSettings(t *testing.T) {
	testnet.NewSpace(t).In(t, func() error {
		o := options()
		o.StrictARP, o.TCP, o.TCPFin, o.UDP = true, 100*time.Second, 50*time.Second, 20*time.Second
		p, err := New(o)
		if err != nil {
			return err
		}
		defer p.Close()
		for name, want := range map[string]string{"ipv4/conf/all/arp_ignore": "1\n", "ipv4/conf/all/arp_announce": "2\n", "ipv4/vs/conntrack": "1\n", "ipv4/vs/expire_nodest_conn": "1\n", "ipv4/vs/conn_reuse_mode": "1\n"} {
			if got, err := os.ReadFile(sysctls + "/" + name); err != nil || string(got) != want {
				return fmt.Errorf("%s is %q, %w", name, got, err)
			}
		}
		c, err := p.kernel.(*linux).ipvs.GetConfig()
		if err != nil || c.TimeoutTCP != o.TCP || c.TimeoutTCPFin != o.TCPFin || c.TimeoutUDP != o.UDP {
			return fmt.Errorf("timeouts %+v, %w", c, err)
		}
		return nil
	})
}

// TestPolicies: three nodes, each with its own servers.
func TestPolicies(t *testing.T) {
	c := testnet.NewCluster(t)
	for _, n := range c.Nodes {
		n.Space.In(t, func() error {
			o := options()
			o.Pods.Networks = testnet.Prefixes("10.244.0.0/16")
			p, err := New(o)
			if err == nil {
				t.Cleanup(func() { _ = p.Close() })
				n.Sync = p.Sync
			}
			return err
		})
	}
	testnet.Policies(t, c)
}
