package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"xebec.dev/test/kubelet/nodetest"
)

// usage is processor time by who used it, in seconds.
type usage map[string]float64

// The parts whose time is counted, in the order of printing. What pods use is
// their own processes and runc within their cgroups; the runtime is
// containerd, its shims, and the network's plugins.
var parts = []string{"runtime", "pods", "kubelet", "apiserver", "bench"}

// meter counts by cgroups: children that have ended count too. On a busy
// machine this is the figure to go by, wall time is not.
type meter struct {
	root string // of the hierarchy that counts
	node string // the node's own group
}

// newMeter gives each daemon a group of its own below the node's.
func newMeter(n *nodetest.Node) (*meter, error) {
	m := &meter{root: "/sys/fs/cgroup", node: n.Cgroup()}
	for _, d := range []string{"cpuacct", "cpu,cpuacct"} {
		if _, err := os.Stat(filepath.Join(m.root, d)); err == nil {
			m.root = filepath.Join(m.root, d)
			break
		}
	}
	for name, pid := range n.Processes() {
		dir := m.group(name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return nil, fmt.Errorf("move %s to a cgroup of its own: %w", name, err)
		}
	}
	return m, nil
}

func (m *meter) group(name string) string { return filepath.Join(m.root, m.node, name) }

// read gives what was used so far.
func (m *meter) read() usage {
	out := usage{"bench": cpu(os.Getpid())}
	for name, dir := range map[string]string{"runtime": "containerd", "kubelet": "kubelet", "apiserver": "kube-apiserver", "pods": "kubepods"} {
		out[name] = m.seconds(m.group(dir))
	}
	return out
}

func (m *meter) seconds(dir string) float64 {
	const nanos, micros = 1e9, 1e6 // a second
	if raw, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage")); err == nil {
		n, _ := strconv.ParseFloat(strings.TrimSpace(string(raw)), 64) // the kernel's own number
		return n / nanos
	}
	raw, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "usage_usec" {
			n, _ := strconv.ParseFloat(f[1], 64)
			return n / micros
		}
	}
	return 0
}

func (u usage) since(before usage) usage {
	out := usage{}
	for _, p := range parts {
		out[p] = u[p] - before[p]
	}
	return out
}

// perPod prints what each of n pods has cost.
func (u usage) perPod(n int) string {
	var b strings.Builder
	sum := 0.0
	for _, p := range parts {
		fmt.Fprintf(&b, "%s %.1f, ", p, u[p]*1000/float64(n))
		sum += u[p]
	}
	return b.String() + fmt.Sprintf("together %.1f CPU ms a pod", sum*1000/float64(n))
}
