package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/layout"
)

// tested is a name that no cluster of this machine has.
const tested = "zq7dwn"

// shortDir is a directory below which sockets have addresses: t.TempDir's are
// too long.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// keep makes a node of a cluster that has a record, and a file that no record
// tells of.
func keep(t *testing.T, root, cluster string) {
	t.Helper()
	r, err := host.ReadRecord(layout.Root(root))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Keep(cluster); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "var/more"))
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func TestDownWithoutARecord(t *testing.T) {
	dir := shortDir(t)
	write(t, dir+"/theirs")
	write(t, dir+"/n1/etc/kubernetes/admin.conf")
	var out bytes.Buffer
	c, err := Found(Options{Name: tested, Nodes: 2, Root: dir, Progress: NewProgress(&out)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context()); err != nil || !strings.Contains(out.String(), "nothing to take away") {
		t.Errorf("%v: %s", err, out.String())
	}
	for _, f := range []string{"/theirs", "/n1/etc/kubernetes/admin.conf"} {
		if !there(dir + f) {
			t.Errorf("%s is gone", f)
		}
	}
}

func TestDownTakesItsOwn(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("nodes in namespaces want the program ip")
	}
	for _, c := range []struct {
		name, root string
		before     func(dir string)
		stays      []string
		gone       string
	}{
		{"a root that was made", "/made/for", func(dir string) {}, []string{""}, "/made"},
		{"a root that was there", "", func(dir string) {}, []string{""}, "/n1"},
		{"files of others", "/made", func(dir string) { write(t, dir+"/made/theirs"); write(t, dir+"/made/n4/x") }, []string{"/made/theirs", "/made/n4/x"}, "/made/n1"},
		{"a node of another cluster", "/made", func(dir string) { keep(t, dir+"/made/n3", "other") }, []string{"/made/n3/var/more", "/made/n3" + host.Data + "/node.json"}, "/made/n2"},
		{"a node's root that was there", "", func(dir string) { write(t, dir+"/n1/theirs") }, []string{"/n1/theirs"}, "/n1" + host.Data},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := shortDir(t)
			if c.root == "" {
				c.before(dir)
			}
			keep(t, dir+c.root+"/n1", tested)
			keep(t, dir+c.root+"/n2", tested)
			if c.root != "" {
				c.before(dir)
			}
			k, err := Found(Options{Name: tested, Root: dir + c.root, Bin: dir})
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			for _, f := range c.stays {
				if !there(dir + f) {
					t.Errorf("%s is gone", f)
				}
			}
			if there(dir + c.gone) {
				t.Errorf("%s stays", c.gone)
			}
		})
	}
}

// program makes a program of a few lines.
func program(t *testing.T, path, lines string) {
	t.Helper()
	write(t, path)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// TestDownWithAStepThatAlwaysFails: everything else goes, and the record waits
// for the day when the step succeeds.
func TestDownWithAStepThatAlwaysFails(t *testing.T) {
	dir := shortDir(t)
	root := dir + "/made"
	keep(t, root, tested)
	r, err := host.ReadRecord(layout.Root(root))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.WriteFile(root+"/etc/xebec/conf", nil, 0o600), r.MkdirAll(root+layout.Kubelet, 0o755)); err != nil {
		t.Fatal(err)
	}
	mounted := exec.Command("mount", "--bind", root+layout.Kubelet, root+layout.Kubelet).Run() == nil
	t.Cleanup(func() { _ = host.Unmount(root) })
	write(t, root+layout.AdminConf)
	program(t, dir+"/bin/kube-proxy", "echo no rules today; exit 1")
	down := func() error {
		c, err := Found(Options{Name: tested, Root: root, Bin: dir + "/bin"})
		if err != nil {
			t.Fatal(err)
		}
		return c.Stop(t.Context())
	}
	for range 2 {
		if err := down(); err == nil || !strings.Contains(err.Error(), "no rules today") || strings.Contains(err.Error(), "are left") {
			t.Errorf("%v", err)
		}
		for _, f := range []string{"/etc/xebec", layout.Kubelet, layout.AdminConf} {
			if there(root + f) {
				t.Errorf("%s stays", f)
			}
		}
		if left, err := host.Mounts(root); err != nil || len(left) > 0 {
			t.Errorf("mounted (%v) and left: %v: %v", mounted, left, err)
		}
		if !there(root+host.Data+"/node.json") || !there(root+"/var/more") {
			t.Error("the record is gone, or the root")
		}
	}
	program(t, dir+"/bin/kube-proxy", "exit 0")
	if err := down(); err != nil || there(root) {
		t.Errorf("%v", err)
	}
}

// TestDownOfOneBadNode keeps its record and the first's, which knows what is
// above them all, and none of the others'.
func TestDownOfOneBadNode(t *testing.T) {
	dir := shortDir(t)
	for _, n := range []string{"/made/n1", "/made/n2", "/made/n3"} {
		keep(t, dir+n, tested)
	}
	// The cable of n2 cannot be taken out until this file is there.
	program(t, dir+"/bin/ip", "case $* in *-n2) [ -e "+dir+"/free ] || { echo busy; exit 2; };; esac")
	t.Setenv("PATH", dir+"/bin:"+os.Getenv("PATH"))
	down := func() error {
		c, err := Found(Options{Name: tested, Root: dir + "/made", Bin: dir})
		if err != nil {
			t.Fatal(err)
		}
		return c.Stop(t.Context())
	}
	if err := down(); err == nil || strings.Count(err.Error(), "busy") != 1 {
		t.Errorf("%v", err)
	}
	for n, kept := range map[string]bool{"/made/n1": true, "/made/n2": true, "/made/n3": false} {
		if there(dir+n+host.Data+"/node.json") != kept || there(dir+n) != kept {
			t.Errorf("%s: expected %v", n, kept)
		}
	}
	write(t, dir+"/free")
	if err := down(); err != nil || there(dir+"/made") {
		t.Errorf("%v", err)
	}
}

// TestPodsOfOthers: cgroups of pods stay while anything may be another's.
func TestPodsOfOthers(t *testing.T) {
	kubePods = "/" + tested + "-pods"
	t.Cleanup(func() {
		if err := host.RemoveCgroup(kubePods); err != nil {
			t.Error(err)
		}
		kubePods = host.KubePods
	})
	if err := host.MakeCgroup(kubePods); err != nil {
		t.Skipf("cgroups cannot be made here: %v", err)
	}
	in := host.Cgroups(kubePods)
	if len(in) == 0 {
		t.Skip("this machine shows no cgroups")
	}
	for _, c := range []struct {
		arg0   string
		inside bool
		why    string
	}{{"/usr/local/bin/k3s server", false, "another kubelet runs"}, {"pod", true, "is in it"}} {
		cmd := &exec.Cmd{Path: "/bin/sleep", Args: []string{c.arg0, "3600"}}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
		if c.inside {
			if err := os.WriteFile(filepath.Join(in[0], "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0o600); err != nil {
				end()
				t.Skipf("processes cannot be moved: %v", err)
			}
		}
		var out bytes.Buffer
		k := &Cluster{Options: Options{Progress: NewProgress(&out)}, nodes: []*Node{{root: layout.Root(t.TempDir())}}}
		k.removePods()
		end()
		if left := host.Cgroups(kubePods); len(left) != len(in) || !strings.Contains(out.String(), "stays: ") || !strings.Contains(out.String(), c.why) {
			t.Errorf("%s: left %v of %v: %s", c.arg0, left, in, out.String())
		}
	}
}

// What a step that failed has left is found again.
func TestDownThatFails(t *testing.T) {
	dir := shortDir(t)
	keep(t, dir+"/n1", tested)
	program(t, dir+"/bin/ip", "echo Device or resource busy >&2; exit 2")
	t.Setenv("PATH", dir+"/bin")
	c, err := Found(Options{Name: tested, Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "resource busy") {
		t.Errorf("%v", err)
	}
	if n, err := membersThere(dir); n != 1 || err != nil || !there(dir+"/n1/var/more") {
		t.Errorf("%d nodes are there to be taken down again: %v", n, err)
	}
}

func TestFoundByRecords(t *testing.T) {
	dir := shortDir(t)
	keep(t, dir+"/n1", tested)
	keep(t, dir+"/n3", tested)
	write(t, dir+"/n5/x")
	keep(t, dir+"/n900", tested)
	alone := shortDir(t)
	keep(t, alone, tested)
	for _, c := range []struct {
		o     Options
		nodes int
		root  string
	}{
		{Options{Root: dir}, 3, dir}, {Options{Root: dir, Nodes: 2}, 3, dir}, {Options{Root: dir, Nodes: 4}, 4, dir},
		{Options{Root: alone}, 0, alone}, {Options{}, 0, "/"}, {Options{Nodes: 2}, 2, "/run/xebec-" + tested},
	} {
		c.o.Name = tested
		k, err := Found(c.o)
		if err != nil {
			t.Fatal(err)
		}
		if k.Nodes != c.nodes || k.Root != c.root {
			t.Errorf("%+v: %d nodes below %s; expected %d below %s", c.o, k.Nodes, k.Root, c.nodes, c.root)
		}
	}
}

// Where one machine cannot be a node, none has a record.
func TestNothingIsBegun(t *testing.T) {
	dir := shortDir(t)
	write(t, dir+"/n2/etc/kubernetes/admin.conf")
	c, err := New(Options{Name: tested, Nodes: 2, Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.start(t.Context()); !errors.Is(err, ErrTaken) || there(dir+"/n1") {
		t.Errorf("%v", err)
	}
}
