package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// tree is the kernel's interface as it is mounted: one hierarchy in the
// second version, one for each controller in the first.
type tree struct {
	mount string
	// controllers of the first version, by the directory below mount; nil
	// for the second.
	controllers []string
}

func open(mount string) (*tree, error) {
	if mount == "" {
		mount = "/sys/fs/cgroup"
	}
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err == nil {
		return &tree{mount: mount}, nil
	}
	entries, err := os.ReadDir(mount)
	if err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	t := &tree{mount: mount, controllers: []string{}}
	seen := map[string]bool{}
	for _, e := range entries {
		// cpu may be a link to cpu,cpuacct; the second version's, when both
		// are there, is unified.
		real, err := filepath.EvalSymlinks(filepath.Join(mount, e.Name()))
		if err != nil || seen[real] || e.Name() == "unified" {
			continue
		}
		if _, err := os.Stat(filepath.Join(real, "cgroup.procs")); err == nil {
			seen[real] = true
			t.controllers = append(t.controllers, filepath.Base(real))
		}
	}
	for _, need := range []string{"cpu", "cpuacct", "memory"} {
		if _, err := os.Stat(filepath.Join(mount, need, "cgroup.procs")); err != nil {
			return nil, fmt.Errorf("control groups: %s has neither the second version nor the first version's controller %s mounted", mount, need)
		}
	}
	return t, nil
}

func (t *tree) version() int {
	if t.controllers == nil {
		return 2
	}
	return 1
}

// dirs are the directories of a group.
func (t *tree) dirs(path string) []string {
	if t.controllers == nil {
		return []string{filepath.Join(t.mount, path)}
	}
	out := make([]string, len(t.controllers))
	for i, c := range t.controllers {
		out[i] = filepath.Join(t.mount, c, path)
	}
	return out
}

// dir is the directory that has a controller's files.
func (t *tree) dir(controller, path string) string {
	if t.controllers == nil {
		return filepath.Join(t.mount, path)
	}
	return filepath.Join(t.mount, controller, path)
}

// wanted are the controllers that pods' groups need in the second version.
var wanted = []string{"cpu", "cpuset", "memory", "pids", "io", "hugetlb"}

// make makes a group and those above it.
func (t *tree) make(path string) error {
	if t.controllers == nil {
		return t.makeUnified(path)
	}
	for i, dir := range t.dirs(path) {
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if t.controllers[i] == "cpuset" {
			if err := t.inherit(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeUnified also turns the controllers on for what is inside.
func (t *tree) makeUnified(path string) error {
	at := t.mount
	for _, e := range append(strings.Split(strings.Trim(path, "/"), "/"), "") {
		if err := t.turnOn(at); err != nil {
			return err
		}
		if e == "" {
			return nil
		}
		at = filepath.Join(at, e)
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

func (t *tree) turnOn(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	on, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	for _, c := range wanted {
		if slices.Contains(strings.Fields(string(have)), c) && !slices.Contains(strings.Fields(string(on)), c) {
			if err := write(filepath.Join(dir, "cgroup.subtree_control"), "+"+c); err != nil {
				return err
			}
		}
	}
	return nil
}

// inherit gives new groups of cpuset, which have nothing, what the groups
// above have.
func (t *tree) inherit(path string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		if _, err := t.inheritOne(strings.Trim(path, "/"), name); err != nil {
			return err
		}
	}
	return nil
}

// inheritOne gives a setting's value, from as far up as it must look.
func (t *tree) inheritOne(path, name string) (string, error) {
	file := filepath.Join(t.mount, "cpuset", path, name)
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(string(raw))
	if value != "" || path == "" {
		return value, nil
	}
	above := filepath.Dir(path)
	if above == "." {
		above = ""
	}
	if value, err = t.inheritOne(above, name); err != nil {
		return "", err
	}
	return value, write(file, value)
}

// exists reports whether a group is complete.
func (t *tree) exists(path string) bool {
	for _, dir := range t.dirs(path) {
		if _, err := os.Stat(dir); err != nil {
			return false
		}
	}
	return true
}

// any reports whether anything of a group is there.
func (t *tree) any(path string) bool {
	for _, dir := range t.dirs(path) {
		if _, err := os.Lstat(dir); err == nil {
			return true
		}
	}
	return false
}

// setting is one file's new content.
type setting struct{ controller, file, value string }

// settings are the files to write for a limit.
func settings(l Limit, version int) []setting {
	var out []setting
	add := func(controller, file, value string) { out = append(out, setting{controller, file, value}) }
	number := func(n int64, none string) string {
		if n <= 0 {
			return none
		}
		return strconv.FormatInt(n, 10)
	}
	if version == 2 {
		if l.Shares != nil {
			add("cpu", "cpu.weight", strconv.FormatUint(Weight(*l.Shares), 10))
		}
		if l.Quota != nil {
			add("cpu", "cpu.max", number(*l.Quota, "max")+" "+strconv.FormatInt(l.Period, 10))
		}
		if l.Memory != nil {
			add("memory", "memory.max", number(*l.Memory, "max"))
		}
		if l.PIDs != nil {
			add("pids", "pids.max", number(*l.PIDs, "max"))
		}
		for size, n := range sorted(l.HugePages) {
			add("hugetlb", "hugetlb."+size+".max", strconv.FormatInt(n, 10))
		}
		return out
	}
	if l.Shares != nil {
		add("cpu", "cpu.shares", strconv.FormatUint(*l.Shares, 10))
	}
	if l.Quota != nil {
		add("cpu", "cpu.cfs_period_us", strconv.FormatInt(l.Period, 10))
		add("cpu", "cpu.cfs_quota_us", number(*l.Quota, "-1"))
	}
	if l.Memory != nil {
		add("memory", "memory.limit_in_bytes", number(*l.Memory, "-1"))
	}
	if l.PIDs != nil {
		add("pids", "pids.max", number(*l.PIDs, "max"))
	}
	for size, n := range sorted(l.HugePages) {
		add("hugetlb", "hugetlb."+size+".limit_in_bytes", strconv.FormatInt(n, 10))
	}
	return out
}

// apply writes a limit to a group.
func (t *tree) apply(path string, l Limit) error {
	for _, s := range settings(l, t.version()) {
		err := write(filepath.Join(t.dir(s.controller, path), s.file), s.value)
		if errors.Is(err, fs.ErrNotExist) && s.controller == "hugetlb" {
			continue // this kernel counts no huge pages
		}
		if err != nil {
			return fmt.Errorf("control group %s: set %s to %s: %w", path, s.file, s.value, err)
		}
	}
	return nil
}

// write writes a file that exists.
func write(name, value string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// sorted goes through a map in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
