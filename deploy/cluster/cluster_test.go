package cluster

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/layout"
)

func TestNodesOfACluster(t *testing.T) {
	c, err := New(Options{Name: "abc", Nodes: 3, Subnet: "172.31.5.0/24", Bin: "/bin"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, n := range c.Members() {
		b.WriteString(strings.Join([]string{n.Name, n.Address, n.NetNS, n.Socket(), c.veth(n)}, " ") + "\n")
	}
	want := `n1 172.31.5.2 abc-n1 /run/xebec-abc/n1/run/xebec/containerd/containerd.sock abc-n1
n2 172.31.5.3 abc-n2 /run/xebec-abc/n2/run/xebec/containerd/containerd.sock abc-n2
n3 172.31.5.4 abc-n3 /run/xebec-abc/n3/run/xebec/containerd/containerd.sock abc-n3
`
	if b.String() != want {
		t.Errorf("nodes:\n%s", b.String())
	}
	if c.Kubeconfig() != "/run/xebec-abc/n1/etc/kubernetes/admin.conf" {
		t.Errorf("kubeconfig %s", c.Kubeconfig())
	}
	if dns, err := c.dnsAddress(); err != nil || dns != "10.96.0.10" {
		t.Errorf("DNS at %s: %v", dns, err)
	}
}

func TestNodesOfBothFamilies(t *testing.T) {
	c, err := New(Options{Name: "abc", Nodes: 2, Subnet: "172.31.5.0/24", PodCIDR: "10.244.0.0/16,fd00:10:244::/56", ServiceCIDR: "10.96.0.0/12,fd00:10:96::/112", Bin: "/bin"})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Members()[1].addresses(); got != "172.31.5.3,fd00:ac:1f:5::3" {
		t.Errorf("addresses %s", got)
	}
	if dns, err := c.dnsAddress(); err != nil || dns != "10.96.0.10" {
		t.Errorf("DNS at %s: %v", dns, err)
	}
}

func TestNamesThatLinksCannotHave(t *testing.T) {
	for _, o := range []Options{
		{Name: "toolong", Nodes: 1}, {Name: "x/..", Nodes: 1}, {Nodes: 1, Subnet: "x"}, {Nodes: 1, Root: "/tmp/" + strings.Repeat("y", 80)},
		{Nodes: -1}, {Nodes: 253}, {Nodes: 2, ControlPlanes: 3}, {ControlPlanes: 3}, {Nodes: 1, Subnet: "172.31.5.0/28"}, {Nodes: 1, Subnet: "10.244.7.0/24"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	if _, err := New(Options{Nodes: 252, ControlPlanes: 3}); err != nil {
		t.Error(err)
	}
}

func TestAddressOfAnotherMachine(t *testing.T) {
	for address, fine := range map[string]bool{"": true, "127.0.0.1": true, "192.0.2.250": false, "x": false} {
		c := &Cluster{Options: Options{Address: address}}
		if err := c.here(); (err == nil) != fine {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// A person who uses one cluster makes another: nodes join their own.
func TestJoinCommandIsOfTheCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", "/of/another.conf")
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "xebecadm"), []byte("#!/bin/sh\necho xebecadm join \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := &Cluster{nodes: []*Node{{Name: "n1", root: "/run/xebec-two/n1", bin: bin}}}
	args, err := c.joinArgs(t.Context())
	if err != nil || !slices.Contains(args, "--kubeconfig=/run/xebec-two/n1/etc/kubernetes/admin.conf") {
		t.Errorf("%v, %v", args, err)
	}
}

func TestNameOfAnotherCluster(t *testing.T) {
	root := layout.Root(t.TempDir())
	r, err := host.ReadRecord(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Keep("xebec"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := &Cluster{Options: Options{Name: "two", Progress: NewProgress(&out)}, nodes: []*Node{{Name: "vm", root: root, cgroup: "/two"}}}
	if err := c.Stop(t.Context()); err != nil || !r.Kept() || !strings.Contains(out.String(), `nothing to take away of a cluster "two": this machine's node is of "xebec"`) {
		t.Errorf("%v, kept %v: %s", err, r.Kept(), out.String())
	}
}

// A cluster that is taken down while it is brought up is waited for no longer.
func TestTakenDownMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := layout.Root(t.TempDir())
		ctx, stop := (&Cluster{nodes: []*Node{{root: root}}}).whileKept(t.Context())
		defer stop()
		r, err := host.ReadRecord(root)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.MkdirAll(root.Path(host.Data), 0o755); err != nil || !r.Kept() {
			t.Fatalf("no record: %v", err)
		}
		time.Sleep(time.Second) // the record is seen; that there is none yet is no reason
		if ctx.Err() != nil {
			t.Fatal("ended while its record was there")
		}
		if err := r.Undo(); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), ErrTakenDown) {
			t.Error(context.Cause(ctx))
		}
	})
}

func TestMissingProgramsAreToldAtOnce(t *testing.T) {
	c, err := New(Options{Nodes: 1, Bin: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.need(); err == nil || !strings.Contains(err.Error(), "containerd-shim-runc-v2") || !strings.Contains(err.Error(), "kubelet") || !strings.Contains(err.Error(), "make build") {
		t.Errorf("%v", err)
	}
}

func TestUnitsOfTheMachinesNode(t *testing.T) {
	c, err := New(Options{Address: "10.0.0.1", Bin: "/opt/xebec"})
	if err != nil {
		t.Fatal(err)
	}
	units, err := c.Members()[0].units()
	if err != nil {
		t.Fatal(err)
	}
	kubelet := string(units["/etc/systemd/system/kubelet.service"])
	if !strings.Contains(kubelet, "After=network-online.target xebec-containerd.service") || !strings.Contains(kubelet, "ExecStart=/opt/xebec/kubelet") {
		t.Errorf("kubelet.service:\n%s", kubelet)
	}
	if certs := string(units["/etc/systemd/system/xebec-certs.service"]); !strings.Contains(certs, "ExecStart=/opt/xebec/xebecadm certs renew all --when-due") || units["/etc/systemd/system/xebec-certs.timer"] == nil {
		t.Errorf("xebec-certs.service:\n%s", certs)
	}
	if runtime := string(units["/etc/systemd/system/xebec-containerd.service"]); !strings.Contains(runtime, "--config /etc/xebec/containerd.toml") {
		t.Errorf("the runtime's unit:\n%s", runtime)
	}
	if dropIn := string(units["/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"]); !strings.Contains(dropIn, "$KUBELET_KUBEADM_ARGS") {
		t.Errorf("drop-in:\n%s", dropIn)
	}
}

// TestProgressOffATerminal tells a wait once, not at every look.
func TestProgressOffATerminal(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b)
	for range 100 {
		p.Wait("for %s", "this")
	}
	p.Done("it is there")
	if lines := strings.Count(b.String(), "\n"); lines != 2 || !strings.Contains(b.String(), "… for this") || !strings.HasSuffix(b.String(), "it is there\n") {
		t.Errorf("told:\n%s", b.String())
	}
}

// TestAnothersNode: what make up has not made, make down does not touch, and
// make up does not write over.
func TestAnothersNode(t *testing.T) {
	for _, file := range []string{"/etc/kubernetes/admin.conf", "/etc/kubernetes/kubelet.conf", "/etc/kubernetes/manifests/mine.yaml", "/var/lib/etcd/member/wal"} {
		dir, err := os.MkdirTemp("", "x") // t.TempDir's are too long for sockets
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		c, err := New(Options{Root: dir, Address: "10.0.0.1", Bin: dir})
		if err != nil {
			t.Fatal(err)
		}
		n := c.Members()[0]
		if err := n.vacant(); err != nil {
			t.Errorf("a machine with nothing on it: %v", err)
		}
		path := n.Path(file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("another's"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := n.vacant(); err == nil || !strings.Contains(err.Error(), "is a node already") {
			t.Errorf("%s: %v", file, err)
		}
		if err := c.Stop(t.Context()); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != "another's" {
			t.Errorf("%s: make down has left %q: %v", file, raw, err)
		}
	}
}
