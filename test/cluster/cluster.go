// Package cluster gives tests whole clusters on this machine: real containerd,
// kubelets, pod network and DNS, each node in a network namespace. A cluster
// goes when its test ends; one whose test was killed goes when the next starts.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xebec.dev/deploy/cluster"
	"xebec.dev/test/apiservertest"
)

// Cluster is a running cluster; see deploy/cluster for what it can do.
type Cluster struct {
	*cluster.Cluster
	lock *os.File
}

// Node is one of its nodes.
type Node = cluster.Node

// Options of a cluster.
type Options = cluster.Options

// prefix of the names of tests' clusters; the rest is the process' id, in base 36.
const prefix = "t"

// fill names a cluster after this process, so that packages' tests do not meet.
func fill(o Options) (Options, error) {
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	if o.Bin == "" {
		o.Bin = apiservertest.Bin()
	}
	if o.Name == "" {
		o.Name = ownName()
	}
	o.Ephemeral = true
	var err error
	if o.Subnet == "" {
		o.Subnet, err = freeSubnet(os.Getpid())
	}
	return o, err
}

// New brings a cluster up without a test, for TestMain; Down takes it away.
func New(ctx context.Context, o Options, progress io.Writer) (*Cluster, error) {
	if err := Sweep(ctx); err != nil {
		return nil, fmt.Errorf("take away what an earlier run has left: %w", err)
	}
	o, err := fill(o)
	if err != nil {
		return nil, err
	}
	lock, err := claim(o.Name)
	if err != nil {
		return nil, err
	}
	if lock == nil {
		return nil, fmt.Errorf("cluster %s is there already: this process, or another that still lives, has made it", o.Name)
	}
	o.Progress = cluster.NewProgress(progress)
	c, err := cluster.New(o)
	if err != nil {
		return nil, errors.Join(err, release(lock))
	}
	k := &Cluster{c, lock}
	if err := c.Start(ctx); err != nil {
		text := k.Logs(30)
		return nil, errors.Join(err, errors.New(text), k.Down())
	}
	return k, nil
}

// Down takes the cluster away, and says what is left if anything is.
func (c *Cluster) Down() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		return err
	}
	return errors.Join(release(c.lock), os.RemoveAll(scratch(c.Name)))
}

// Start brings a cluster up for a test.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c, err := New(t.Context(), o, logWriter{t})
	if err != nil {
		t.Fatalf("cluster: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs(60))
		}
		if err := c.Down(); err != nil {
			t.Errorf("take the cluster down: %v", err)
		}
	})
	return c
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// Must runs kubectl and ends the test when it fails.
func (c *Cluster) Must(t testing.TB, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Eventually repeats something until it succeeds, for three minutes.
func Eventually(t testing.TB, what string, do func() error) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after three minutes: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Import gives nodes an image, of an archive.
func (c *Cluster) Import(ctx context.Context, archive string, nodes ...*Node) error {
	for _, n := range nodes {
		out, err := exec.CommandContext(ctx, filepath.Join(c.Bin, "ctr"), "-a", n.Socket(), "-n", "k8s.io", "images", "import", "--local", "--snapshotter=overlayfs", archive).CombinedOutput()
		if err != nil {
			return fmt.Errorf("node %s: import %s: %w: %s", n.Name, archive, err, out)
		}
	}
	return nil
}

// Logs are the ends of the nodes' daemons' logs.
func (c *Cluster) Logs(lines int) string {
	var b strings.Builder
	for _, n := range c.Members() {
		for _, d := range []string{"kubelet", "containerd", "supervisor", "xebecadm"} {
			raw, err := os.ReadFile(n.Log(d))
			if err != nil {
				continue
			}
			all := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
			fmt.Fprintf(&b, "== %s of %s\n%s\n", d, n.Name, strings.Join(all[max(0, len(all)-lines):], "\n"))
		}
	}
	return b.String()
}
