package nftables

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/testnet"
)

// TestAffinity: a client stays with its endpoint, by whatever address it
// comes, until the endpoint goes.
func TestAffinity(t *testing.T) {
	w := testWorld(t)
	w.Meet(t)
	names := map[string]string{}
	for port := 8080; port < 8084; port++ {
		testnet.Serve(t, w.Pod, fmt.Sprint(port), fmt.Sprint(":", port))
		names[fmt.Sprint(port)] = fmt.Sprint("10.244.0.2:", port)
	}
	make4 := func(endpoints ...string) *compile.Service {
		var six []string
		for _, e := range endpoints {
			six = append(six, "[fd44::2]"+e[len("10.244.0.2"):])
		}
		s := service("x/web", frontend(compile.ClusterIP, "10.96.0.1:80", poolOf(compile.OffCluster, endpoints...)),
			frontend(compile.NodePort, "0.0.0.0:30080", poolOf(compile.Always, endpoints...)),
			frontend(compile.ClusterIP, "[fd96::1]:80", poolOf(compile.OffCluster, six...)))
		for i := range s.Frontends {
			s.Frontends[i].Affinity = time.Hour
		}
		return s
	}
	endpoints := []string{"10.244.0.2:8080", "10.244.0.2:8081", "10.244.0.2:8082", "10.244.0.2:8083"}
	s := make4(endpoints...)
	w.sync(t, full(s))
	var others []*compile.Service // more than the kernel tells in one message
	for i := range 2000 {
		o := service(fmt.Sprint("x/other-", i), frontend(compile.ClusterIP, fmt.Sprintf("10.97.%d.%d:80", i/200, i%200+1), poolOf(compile.OffCluster, "10.244.0.9:80")))
		o.Frontends[0].Affinity = time.Hour
		others = append(others, o)
	}
	ask := func(to string) string {
		t.Helper()
		seen, err := testnet.Call(w.Other, "", to)
		if err != nil {
			t.Fatal(err)
		}
		return testnet.Who(seen)
	}
	for len(endpoints) > 1 {
		mine, mine6 := ask("10.96.0.1:80"), ask("[fd96::1]:80")
		// Another process writes everything anew, and in another order.
		w.Node.In(t, func() error {
			p, err := New(w.proxy.o)
			if err != nil {
				return err
			}
			_ = w.proxy.Close()
			w.proxy = p
			return p.Sync(full(append(others, s)...))
		})
		for range 8 {
			if got := ask("10.96.0.1:80"); got != mine {
				t.Errorf("was sent to %s and then to %s", mine, got)
			}
			if got := ask("192.168.9.1:30080"); got != mine {
				t.Errorf("was sent to %s and at the node port to %s", mine, got)
			}
			if got := ask("[fd96::1]:80"); got != mine6 {
				t.Errorf("was sent to %s and then to %s", mine6, got)
			}
		}
		// The endpoint goes; whoever was with it gets another one, at once.
		var rest []string
		for _, e := range endpoints {
			if e != names[mine] {
				rest = append(rest, e)
			}
		}
		now := make4(rest...)
		w.sync(t, change(s, now))
		s, endpoints = now, rest
	}
}

// TestChurn: endpoints come and go under thousands of connections; none
// fails.
func TestChurn(t *testing.T) {
	w := testWorld(t)
	const most = 6
	var all []string
	for i := range most {
		testnet.Serve(t, w.Pod, fmt.Sprint(i), fmt.Sprint(":", 8080+i))
		all = append(all, fmt.Sprint("10.244.0.2:", 8080+i))
	}
	of := func(n int, affinity time.Duration) *compile.Service {
		s := service("x/web", frontend(compile.ClusterIP, "10.96.0.1:80", poolOf(compile.OffCluster, all[:n]...)))
		s.Frontends[0].Affinity = affinity
		return s
	}
	for _, affinity := range []time.Duration{0, time.Hour} {
		s := of(most, affinity)
		w.sync(t, full(s))
		const dials = 1500
		done := make(chan error, 2)
		for _, from := range []testnet.Space{w.Other, w.Node} {
			go func() { done <- testnet.DialMany(from, "10.96.0.1:80", dials) }()
		}
		changes := 0
		for left := 2; left > 0; changes++ {
			now := of(1+changes*5%most, affinity)
			w.sync(t, change(s, now))
			s = now
			select {
			case err := <-done:
				left--
				if err != nil {
					t.Error(err)
				}
			case <-time.After(200 * time.Microsecond):
			}
		}
		t.Logf("affinity %v: %d changes under %d connections", affinity, changes, 2*dials)
		if changes < 20 {
			t.Errorf("only %d changes", changes)
		}
	}
}

// TestRestart: another process writes everything anew under connections that
// last and connections that come.
func TestRestart(t *testing.T) {
	w := testWorld(t)
	testnet.Echo(t, w.Pod, ":7")
	testnet.Serve(t, w.Pod, "web", ":8080")
	all := []*compile.Service{
		service("x/echo", frontend(compile.ClusterIP, "10.96.0.7:7", poolOf(compile.OffCluster, "10.244.0.2:7"))),
		service("x/web", frontend(compile.ClusterIP, "10.96.0.1:80", poolOf(compile.OffCluster, "10.244.0.2:8080"))),
	}
	w.sync(t, full(all...))
	var conns []net.Conn
	w.Other.In(t, func() error {
		for range 100 {
			c, err := net.DialTimeout("tcp", "10.96.0.7:7", 5*time.Second)
			if err != nil {
				return err
			}
			conns = append(conns, c)
		}
		return nil
	})
	done, enough := make(chan error, 1), make(chan struct{})
	go func() {
		for {
			err := testnet.DialMany(w.Other, "10.96.0.1:80", 50)
			select {
			case <-enough:
			default:
				if err == nil {
					continue
				}
			}
			done <- err
			return
		}
	}()
	for range 20 {
		w.Node.In(t, func() error {
			p, err := New(w.proxy.o)
			if err != nil {
				return err
			}
			defer p.Close()
			return p.Sync(full(all...))
		})
	}
	close(enough)
	if err := <-done; err != nil {
		t.Error(err)
	}
	for i, c := range conns {
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := []byte("still here")
		if _, err := c.Write(buf); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		c.Close()
	}
}

// TestRemoved: somebody removes our table; the next look says so, and nothing
// but everything is written then.
func TestRemoved(t *testing.T) {
	w := testWorld(t)
	s := service("x/web", frontend(compile.ClusterIP, "10.96.0.1:80", poolOf(compile.OffCluster, "10.244.0.2:8080")))
	w.sync(t, full(s))
	if err := w.proxy.Check(); err != nil {
		t.Fatal(err)
	}
	w.Node.In(t, Cleanup)
	if err := w.proxy.Sync(change(s, nil)); err == nil {
		t.Error("a change without the table succeeded")
	}
	if err := w.proxy.Check(); err == nil {
		t.Error("the table is not missed")
	}
	if err := w.proxy.Sync(change(s, nil)); err == nil {
		t.Error("a change after a failure succeeded")
	}
	w.sync(t, full(s))
	testnet.Serve(t, w.Pod, "web", ":8080")
	if seen, err := testnet.Call(w.Other, "", "10.96.0.1:80"); err != nil {
		t.Error(seen, err)
	}
	w.Node.In(t, Cleanup)
	w.Node.In(t, Cleanup) // again, with nothing there
}

// TestAffinityEnds: a client that was away for longer than the affinity lasts
// may come to another endpoint; one that comes back in time stays.
func TestAffinityEnds(t *testing.T) {
	w := testWorld(t)
	w.Meet(t)
	var endpoints []string
	for port := 8080; port < 8088; port++ {
		testnet.Serve(t, w.Pod, fmt.Sprint(port), fmt.Sprint(":", port))
		endpoints = append(endpoints, fmt.Sprint("10.244.0.2:", port))
	}
	short, long := frontend(compile.ClusterIP, "10.96.0.1:80", poolOf(compile.OffCluster, endpoints...)), frontend(compile.ClusterIP, "10.96.0.2:80", poolOf(compile.OffCluster, endpoints...))
	short.Affinity, long.Affinity = time.Second, time.Hour
	w.sync(t, full(service("x/short", short), service("x/long", long)))
	ask := func(to string) string {
		t.Helper()
		seen, err := testnet.Call(w.Other, "", to)
		if err != nil {
			t.Fatal(err)
		}
		return testnet.Who(seen)
	}
	first, stays := ask("10.96.0.1:80"), ask("10.96.0.2:80")
	for deadline := time.Now().Add(time.Minute); ask("10.96.0.1:80") == first; time.Sleep(1500 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the affinity of a second does not end")
		}
		if got := ask("10.96.0.2:80"); got != stays {
			t.Errorf("was sent to %s and then to %s", stays, got)
		}
	}
}
