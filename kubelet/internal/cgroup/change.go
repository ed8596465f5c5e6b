package cgroup

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Change is what the group of a pod needs to be as the pod asks.
type Change struct {
	// Grows and Shrinks: something it is given becomes more, or less. Both may
	// hold.
	Grows, Shrinks bool
	// Memory is the new limit in bytes where that becomes less; 0 where not.
	Memory int64
}

// Change compares the pod's group with the pod. A group that is not there
// needs nothing: it is made as it should be.
func (m *Manager) Change(pod *corev1.Pod) (Change, error) {
	path, want := m.PodPath(pod), m.o.PodLimit(pod)
	if m.is(path, want) || !m.t.exists(path) {
		return Change{}, nil
	}
	have, err := m.t.limit(path)
	if err != nil {
		return Change{}, fmt.Errorf("control group %s: %w", path, err)
	}
	c := compare(have, want)
	if c == (Change{}) { // what is left has no order
		return c, m.set(path, want)
	}
	return c, nil
}

// page is what the kernel counts memory in.
var page = int64(os.Getpagesize())

// most memory that a limit has; more, and nothing, is no limit.
func memoryBound(n *int64) int64 {
	if n == nil || *n <= 0 || *n >= unlimited {
		return math.MaxInt64
	}
	return *n / page * page
}

// cpuBound is in millionths of a CPU.
func cpuBound(l Limit) int64 {
	const million = 1000000
	if l.Quota == nil || *l.Quota <= 0 || l.Period <= 0 {
		return math.MaxInt64
	}
	return *l.Quota * million / l.Period
}

func compare(have, want Limit) (c Change) {
	now, then := memoryBound(have.Memory), memoryBound(want.Memory)
	if want.Memory != nil {
		c.Grows, c.Shrinks = then > now, then < now
		if c.Shrinks {
			c.Memory = then
		}
	}
	if want.Quota != nil {
		c.Grows, c.Shrinks = c.Grows || cpuBound(want) > cpuBound(have), c.Shrinks || cpuBound(want) < cpuBound(have)
	}
	if want.Shares != nil && have.Shares != nil && *want.Shares != *have.Shares {
		c.Grows = true // weights are no bounds: they may come first
	}
	return c
}

// larger is the more generous one of two limits, field by field. Weights are
// the second's.
func larger(have, want Limit) Limit {
	out := want
	if want.Memory != nil && memoryBound(have.Memory) > memoryBound(want.Memory) {
		out.Memory = ptr(int64(-1))
		if bound := memoryBound(have.Memory); bound != math.MaxInt64 {
			out.Memory = &bound
		}
	}
	if want.Quota != nil && cpuBound(have) > cpuBound(want) {
		out.Quota, out.Period = ptr(int64(-1)), want.Period
		if have.Quota != nil && *have.Quota > 0 {
			out.Quota, out.Period = have.Quota, have.Period
		}
	}
	return out
}

// Grow gives the pod's group what it gets more of. What it gets less of stays,
// for containers that still use it.
func (m *Manager) Grow(pod *corev1.Pod) error {
	path := m.PodPath(pod)
	have, err := m.t.limit(path)
	if err != nil {
		return fmt.Errorf("control group %s: %w", path, err)
	}
	return m.set(path, larger(have, m.o.PodLimit(pod)))
}

// Shrink brings the pod's group in line with the pod.
func (m *Manager) Shrink(pod *corev1.Pod) error { return m.set(m.PodPath(pod), m.o.PodLimit(pod)) }

// MemoryInUse by a pod, or by one of its containers, in bytes.
func (m *Manager) MemoryInUse(pod *corev1.Pod, container string) (int64, error) {
	path, file := m.PodPath(pod), "memory.current"
	if container != "" {
		path = m.ContainerPath(pod, container)
	}
	if m.Version() == 1 {
		file = "memory.usage_in_bytes"
	}
	return m.t.number("memory", path, file)
}

// limit is what a group has now, without what no resize changes.
func (t *tree) limit(path string) (l Limit, err error) {
	if t.version() == 2 {
		return t.limitUnified(path)
	}
	read := func(to *int64, controller, file string) {
		if err == nil {
			*to, err = t.number(controller, path, file)
		}
	}
	var shares, quota, memory int64
	read(&shares, "cpu", "cpu.shares")
	read(&quota, "cpu", "cpu.cfs_quota_us")
	read(&l.Period, "cpu", "cpu.cfs_period_us")
	read(&memory, "memory", "memory.limit_in_bytes")
	l.Shares, l.Quota, l.Memory = ptr(uint64(max(shares, minShares))), &quota, &memory
	return l, err
}

// limitUnified does not tell shares: what their weight was made of is lost.
func (t *tree) limitUnified(path string) (l Limit, err error) {
	raw, err := os.ReadFile(filepath.Join(t.dir("cpu", path), "cpu.max"))
	if err != nil {
		return l, err
	}
	quota, period, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	l.Quota = ptr(int64(-1))
	if quota != "max" {
		if *l.Quota, err = strconv.ParseInt(quota, 10, 64); err != nil {
			return l, err
		}
	}
	if l.Period, err = strconv.ParseInt(period, 10, 64); err != nil {
		return l, err
	}
	memory, err := t.number("memory", path, "memory.max")
	l.Memory = &memory
	return l, err
}

// number reads a file with one number, or max, which is -1.
func (t *tree) number(controller, path, file string) (int64, error) {
	raw, err := os.ReadFile(filepath.Join(t.dir(controller, path), file))
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(raw))
	if text == "max" {
		return -1, nil
	}
	return strconv.ParseInt(text, 10, 64)
}
