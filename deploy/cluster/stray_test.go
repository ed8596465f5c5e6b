package cluster

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/layout"
)

// TestStrayBridge: one without a record goes, unless something lives in it.
func TestStrayBridge(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		t.Skip("links want root and the program ip")
	}
	name := "z" + strconv.FormatInt(int64(os.Getpid()), 36)
	c := &Cluster{Options: Options{Name: name}}
	n1, n2 := &Node{Name: "n1", NetNS: name + "-n1"}, &Node{Name: "n2", NetNS: name + "-n2"}
	other := name + "-x"
	t.Cleanup(func() {
		if err := errors.Join(c.detach(n1), c.detach(n2), removeLink(other), removeLink(c.bridge())); err != nil {
			t.Error(err)
		}
	})
	if err := ip("link", "add", c.bridge(), "type", "bridge"); err != nil {
		t.Skipf("links cannot be made here: %v", err)
	}
	// n2 is one whose cable was not made.
	if err := steps(t.Context(), words("netns add "+n1.NetNS), words("netns add "+n2.NetNS),
		words("link add "+c.veth(n1)+" type veth peer name eth0 netns "+n1.NetNS), words("link set "+c.veth(n1)+" master "+c.bridge())); err != nil {
		t.Skipf("namespaces cannot be made here: %v", err)
	}
	down := func(root string) (string, error) {
		var out bytes.Buffer
		c, err := Found(Options{Name: name, Root: root, Progress: NewProgress(&out)})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Stop(t.Context())
		return out.String(), err
	}
	stays := func(root, why string) {
		t.Helper()
		if _, err := down(root); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v; expected %q", err, why)
		}
		if !c.linked() || !there("/run/netns/"+n1.NetNS) || !there("/run/netns/"+n2.NetNS) {
			t.Fatal("it is gone")
		}
	}
	stays(shortDir(t), "expected the --root")
	cmd := (&Node{NetNS: n2.NetNS}).Command(t.Context(), "sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(end)
	for pids, err := within("/run/netns/" + n2.NetNS); len(pids) == 0; pids, err = within("/run/netns/" + n2.NetNS) {
		if err != nil {
			t.Fatal(err)
		}
	}
	stays("", "process "+strconv.Itoa(cmd.Process.Pid)+" in namespace "+n2.NetNS)
	end()
	if err := steps(t.Context(), words("link add "+other+" type dummy"), words("link set "+other+" master "+c.bridge())); err == nil {
		stays("", "link "+other)
		if err := removeLink(other); err != nil {
			t.Fatal(err)
		}
	}
	out, err := down("")
	if err != nil || !strings.Contains(out, "namespaces: 2") {
		t.Errorf("%v: %s", err, out)
	}
	if c.linked() || there("/run/netns/"+n1.NetNS) || there("/run/netns/"+n2.NetNS) {
		t.Error("it is there")
	}
	if out, err := down(""); err != nil || !strings.Contains(out, "nothing to take away") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestTakenDownBeforeTheBridge: links that are made when the records are gone
// already go with who has made them.
func TestTakenDownBeforeTheBridge(t *testing.T) {
	for _, c := range []struct {
		name      string
		kept      bool
		cancelled bool
		want      error
		has, not  string
	}{
		{"goes well", true, false, nil, "netns add " + tested + "-n2", "link del"},
		{"interrupted", true, true, context.Canceled, "", "link"},
		{"taken down, and it is seen", false, true, ErrTakenDown, "link del " + tested + "-br", "link add"},
		{"taken down meanwhile", false, false, ErrTakenDown, "link del " + tested + "-br", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := shortDir(t)
			k, err := New(Options{Name: tested, Nodes: 2, Root: dir + "/made"})
			if err != nil {
				t.Fatal(err)
			}
			if err := k.begin(k.nodes...); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.cancelled {
				cancel()
			}
			told := "echo $* >> " + dir + "/told"
			if !c.kept {
				// Between two steps, or before the first.
				told += "; rm -f " + dir + "/made/n1" + host.Data + "/node.json"
				if r, err := host.ReadRecord(layout.Root(dir + "/made/n1")); err != nil || c.cancelled && r.Undo() != nil {
					t.Fatal("the record is not read, or stays")
				}
			}
			program(t, dir+"/bin/ip", told)
			t.Setenv("PATH", dir+"/bin:"+os.Getenv("PATH"))
			if err := k.fabric(ctx); !errors.Is(err, c.want) {
				t.Errorf("%v; expected %v", err, c.want)
			}
			raw, _ := os.ReadFile(dir + "/told") // ip may not have been asked
			if !strings.Contains(string(raw), c.has) || c.not != "" && strings.Contains(string(raw), c.not) {
				t.Errorf("asked of ip:\n%s", raw)
			}
		})
	}
}
