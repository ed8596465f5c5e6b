package cni

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// node is a network namespace with the plugin's program beside it.
type node struct {
	t       *testing.T
	program string
	state   string
	space   netns.NsHandle
	cidrs   []string
}

// namespace makes an unnamed one, bound to a file so that it has a path.
func namespace(t *testing.T) (netns.NsHandle, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	type made struct {
		h   netns.NsHandle
		err error
	}
	out := make(chan made)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine: it is in the namespace for good
		h, err := netns.New()
		if err == nil {
			err = bind("/proc/thread-self/ns/net", path)
		}
		out <- made{h, err}
	}()
	m := <-out
	if m.err != nil {
		t.Fatalf("make a network namespace (needs root): %v", m.err)
	}
	t.Cleanup(func() { m.h.Close(); unbind(path) })
	return m.h, path
}

// within runs f on a thread in the namespace.
func within(h netns.NsHandle, f func() error) error {
	out := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(h); err != nil {
			out <- err
			return
		}
		out <- f()
	}()
	return <-out
}

func newNode(t *testing.T, cidrs ...string) *node {
	t.Helper()
	n := &node{t: t, program: filepath.Join(t.TempDir(), "xebec-bridge"), state: t.TempDir(), cidrs: cidrs}
	if out, err := exec.Command("go", "build", "-o", n.program, "xebec.dev/kubelet/cmd/xebec-bridge").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n.space, _ = namespace(t)
	return n
}

// call runs the program as a runtime does.
func (n *node) call(command, container, netnsPath string, more map[string]any) (*current.Result, error) {
	conf := map[string]any{"cniVersion": "1.1.0", "name": "pods", "type": "xebec-bridge", "podCIDRs": n.cidrs, "stateDir": n.state}
	for k, v := range more {
		conf[k] = v
	}
	stdin, _ := json.Marshal(conf) // of strings
	var stdout, stderr bytes.Buffer
	c := exec.Command(n.program)
	c.Env = []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + container, "CNI_NETNS=" + netnsPath, "CNI_IFNAME=eth0", "CNI_PATH=" + filepath.Dir(n.program)}
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := within(n.space, c.Run); err != nil {
		return nil, fmt.Errorf("%s: %w: %s%s", command, err, &stdout, &stderr)
	}
	if command != "ADD" {
		return nil, nil
	}
	r := &current.Result{}
	return r, json.Unmarshal(stdout.Bytes(), r)
}

func (n *node) add(container, path string) *current.Result {
	n.t.Helper()
	r, err := n.call("ADD", container, path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

func (n *node) links() (out []string) {
	n.t.Helper()
	err := within(n.space, func() error {
		all, err := netlink.LinkList()
		for _, l := range all {
			if strings.HasPrefix(l.Attrs().Name, "veth") {
				out = append(out, l.Attrs().Name)
			}
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

func TestPodsTalk(t *testing.T) {
	n := newNode(t, "10.77.1.0/24", "fd77:1::/64")
	a, aPath := namespace(t)
	b, bPath := namespace(t)
	ra, rb := n.add("a", aPath), n.add("b", bPath)
	if got := fmt.Sprint(ra.IPs[0].Address.String(), " ", ra.IPs[1].Address.String()); got != "10.77.1.2/24 fd77:1::2/64" {
		t.Errorf("addresses %s", got)
	}
	if *ra.IPs[0].Interface != 2 || ra.Interfaces[2].Sandbox != aPath || len(ra.Routes) != 2 {
		t.Errorf("result %+v", ra)
	}
	for i, ip := range rb.IPs {
		var l net.Listener
		err := within(b, func() (err error) {
			l, err = net.Listen("tcp", net.JoinHostPort(ip.Address.IP.String(), "0"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for from, space := range map[string]netns.NsHandle{"a pod": a, "the node": n.space, "itself": b} {
			err := within(space, func() error {
				conn, err := net.DialTimeout("tcp", l.Addr().String(), 30*time.Second)
				if err == nil {
					conn.Close()
				}
				return err
			})
			if err != nil {
				t.Errorf("from %s, address %d: %v", from, i, err)
			}
		}
	}
	// The same call again is the same pod with the same addresses.
	if again := n.add("a", aPath); again.IPs[0].Address.String() != ra.IPs[0].Address.String() || len(n.links()) != 2 {
		t.Errorf("again: %v, links %v", again.IPs[0], n.links())
	}
	prev := map[string]any{"prevResult": ra}
	if _, err := n.call("CHECK", "a", aPath, prev); err != nil {
		t.Error(err)
	}
	err := within(a, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.AddrDel(l, &netlink.Addr{IPNet: &ra.IPs[0].Address})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.call("CHECK", "a", aPath, prev); err == nil || !strings.Contains(err.Error(), "10.77.1.2") {
		t.Errorf("an address is missing: %v", err)
	}
}

func TestDel(t *testing.T) {
	n := newNode(t, "10.77.1.0/24")
	_, path := namespace(t)
	first := n.add("a", path)
	for range 2 {
		if _, err := n.call("DEL", "a", path, nil); err != nil {
			t.Fatal(err)
		}
	}
	// The runtime may have lost the namespace, and the pod may never have been.
	if _, err := n.call("DEL", "b", "", nil); err != nil {
		t.Error(err)
	}
	if l := n.links(); len(l) > 0 {
		t.Errorf("links %v", l)
	}
	// An address that was given back rests.
	if next := n.add("c", path); next.IPs[0].Address.IP.Equal(first.IPs[0].Address.IP) {
		t.Errorf("%s was given again at once", next.IPs[0].Address.IP)
	}
}

func TestGC(t *testing.T) {
	n := newNode(t, "10.77.1.0/24")
	for _, name := range []string{"a", "b", "c"} {
		_, path := namespace(t)
		n.add(name, path)
	}
	valid := map[string]any{"cni.dev/valid-attachments": []any{map[string]any{"containerID": "b", "ifname": "eth0"}}}
	if _, err := n.call("GC", "", "", valid); err != nil {
		t.Fatal(err)
	}
	if l := n.links(); len(l) != 1 || l[0] != linkName("b", "eth0") {
		t.Errorf("links %v", l)
	}
	files, err := filepath.Glob(filepath.Join(n.state, "pods", "10.*"))
	if err != nil || len(files) != 1 {
		t.Errorf("addresses %v, %v", files, err)
	}
}

func TestStatus(t *testing.T) {
	n := newNode(t, "10.77.1.0/24")
	if _, err := n.call("STATUS", "", "", nil); err != nil {
		t.Error(err)
	}
	for what, c := range map[string]struct {
		cidrs []string
		want  string
	}{
		"no network yet":    {[]string{}, `"code": 50`},
		"not a network":     {[]string{"10.77.1"}, "is not a network"},
		"too small":         {[]string{"10.77.1.0/31"}, "no room"},
		"two of one family": {[]string{"10.77.1.0/24", "10.78.1.0/24"}, "second of its family"},
	} {
		if _, err := n.call("STATUS", "", "", map[string]any{"podCIDRs": c.cidrs}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestManyAtOnce: calls side by side get different addresses.
func TestManyAtOnce(t *testing.T) {
	n := newNode(t, "10.77.1.0/24")
	var wg sync.WaitGroup
	got := make([]string, 12)
	for i := range got {
		_, path := namespace(t)
		wg.Go(func() {
			if r, err := n.call("ADD", fmt.Sprint("c", i), path, nil); err != nil {
				t.Error(err)
			} else {
				got[i] = r.IPs[0].Address.String()
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, a := range got {
		if seen[a] {
			t.Errorf("%s twice", a)
		}
		seen[a] = true
	}
}

func TestLedger(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/29")}
	l, err := openLedger(t.TempDir(), "n")
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	var all []string
	for i := range 5 {
		a, err := l.take(networks, owner(fmt.Sprint(i), "eth0"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a[0].String())
	}
	if got := strings.Join(all, " "); got != "10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5 10.1.0.6" {
		t.Error(got)
	}
	if _, err := l.take(networks, owner("5", "eth0")); err == nil || !strings.Contains(err.Error(), "no address of 10.1.0.0/29 is free") {
		t.Error(err)
	}
	if err := l.release(owner("3", "eth0")); err != nil {
		t.Fatal(err)
	}
	if a, err := l.take(networks, owner("6", "eth0")); err != nil || a[0].String() != "10.1.0.5" {
		t.Error(a, err)
	}
	// Cut short by a crash: nobody's, and collected.
	if err := os.WriteFile(filepath.Join(l.dir, "10.1.0.4"), []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.keep(func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if a, err := l.take(networks, owner("7", "eth0")); err != nil || a[0].String() != "10.1.0.4" {
		t.Error(a, err)
	}
}
