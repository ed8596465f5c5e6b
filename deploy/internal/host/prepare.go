package host

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/pki"
)

// Systemd says whether systemd runs this machine.
func Systemd() bool {
	st, err := os.Stat("/run/systemd/system")
	return err == nil && st.IsDir()
}

// RestrictOOM says whether a process here may not lower its OOM score.
func RestrictOOM() bool {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return true
	}
	const sysResource = 24
	for line := range strings.Lines(string(raw)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err != nil || caps&(1<<sysResource) == 0
		}
	}
	return true
}

// Record is what was done to a machine, so that it can be undone and nothing
// else is touched.
type Record struct {
	// Cluster is the name of the node's, so that another's takes nothing away.
	Cluster string `json:"cluster,omitempty"`
	// Files and Dirs that were made, Mounts in order, Settings with the value
	// before.
	Files    []string          `json:"files,omitempty"`
	Dirs     []string          `json:"dirs,omitempty"`
	Mounts   []string          `json:"mounts,omitempty"`
	Settings map[string]string `json:"settings,omitempty"`
	// Routes by their destination.
	Routes []string `json:"routes,omitempty"`
	// KubePods says that there was a cgroup of pods before there was a node.
	KubePods bool `json:"kubePods,omitempty"`
	// Before is the machine's network before there was a node.
	Before *Snapshot `json:"before,omitempty"`

	path string
}

// ReadRecord reads a node's record; a missing one is empty.
func ReadRecord(root layout.Root) (*Record, error) {
	r := &Record{Settings: map[string]string{}, path: root.Path(Data + "/node.json")}
	raw, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("record of what was done to this machine, %s: %w", r.path, err)
	}
	if r.Settings == nil {
		r.Settings = map[string]string{}
	}
	return r, nil
}

// Keep begins the record: from here on the node is the named cluster's.
func (r *Record) Keep(cluster string) error {
	begun := r.Kept()
	r.Cluster = cluster
	if err := r.MkdirAll(filepath.Dir(r.path), 0o755); err != nil {
		return err
	}
	if !begun {
		r.KubePods = len(Cgroups(KubePods)) > 0
	}
	return r.save()
}

// Kept says whether there is a record: whether anything was done.
func (r *Record) Kept() bool {
	_, err := os.Stat(r.path)
	return err == nil
}

func (r *Record) save() error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return pki.WriteFile(r.path, raw, 0o600)
}

// MkdirAll makes a directory and notes those that were not there.
func (r *Record) MkdirAll(dir string, mode os.FileMode) error {
	var made []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil {
			break
		}
		made = append(made, d)
	}
	if len(made) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	r.Dirs = append(r.Dirs, made...)
	return r.save()
}

// WriteFile writes a file and notes it if it was not there.
func (r *Record) WriteFile(path string, data []byte, mode os.FileMode) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := r.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		r.Files = append(r.Files, path)
		if err := r.save(); err != nil {
			return err
		}
	}
	return pki.WriteFile(path, data, mode)
}

// Expect notes a file that somebody else writes because of us.
func (r *Record) Expect(path string) error {
	if _, err := os.Lstat(path); err == nil || slices.Contains(r.Files, path) {
		return nil
	}
	r.Files = append(r.Files, path)
	return r.save()
}

// Set writes a kernel setting below /proc/sys, unless it has the value, and
// notes what it was.
func (r *Record) Set(name, value string) error {
	file := filepath.Join("/proc/sys", name)
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	was := strings.TrimSpace(string(old))
	if was == value {
		return nil
	}
	if _, noted := r.Settings[name]; !noted {
		r.Settings[name] = was
		if err := r.save(); err != nil {
			return err
		}
	}
	return os.WriteFile(file, []byte(value), 0o644)
}

// Note keeps the value that a setting has, for one that somebody else changes
// because of us. One that this kernel has not is passed over.
func (r *Record) Note(names ...string) error {
	for _, name := range names {
		raw, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if _, noted := r.Settings[name]; err != nil || noted {
			continue
		}
		r.Settings[name] = strings.TrimSpace(string(raw))
	}
	return r.save()
}

// Share makes a directory a shared mount: volumes that pods mount there must
// be seen by other pods, and / is private on some machines.
func (r *Record) Share(dir string) error {
	if err := r.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	mounted, err := Mounts(dir)
	if err != nil {
		return err
	}
	for _, m := range mounted {
		if m == dir {
			return syscall.Mount("", dir, "", syscall.MS_SHARED|syscall.MS_REC, "")
		}
	}
	r.Mounts = append(r.Mounts, dir)
	if err := r.save(); err != nil {
		return err
	}
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s on itself: %w", dir, err)
	}
	return syscall.Mount("", dir, "", syscall.MS_SHARED|syscall.MS_REC, "")
}

// Mounts are the mount points at and below a directory, the deepest first and
// of those on one point the last first.
func Mounts(below string) ([]string, error) {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var out []string
	for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 {
			continue
		}
		at := unescape(fields[4])
		if at == below || strings.HasPrefix(at, strings.TrimSuffix(below, "/")+"/") {
			out = append([]string{at}, out...)
		}
	}
	return out, nil
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Route makes a range reachable by what the node itself rewrites, from its own
// address: without any route the kernel refuses a connection before rules see
// it. Where there is a route nothing is done.
func (r *Record) Route(destination, from string) error {
	p, err := netip.ParsePrefix(destination)
	if err != nil {
		return fmt.Errorf("route to %s: %w", destination, err)
	}
	if exec.Command("ip", "route", "get", p.Masked().Addr().Next().String()).Run() == nil {
		return nil
	}
	r.Routes = append(r.Routes, destination)
	if err := r.save(); err != nil {
		return err
	}
	if out, err := exec.Command("ip", "route", "add", destination, "dev", "lo", "src", from).CombinedOutput(); err != nil {
		return fmt.Errorf("route to %s: %w: %s", destination, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Look notes what the machine's network has, once.
func (r *Record) Look() error {
	if r.Before != nil {
		return nil
	}
	s, err := Take()
	if err != nil {
		return err
	}
	r.Before = s
	return r.save()
}

// MadeDir says whether a directory, or one above it, is of the record.
func (r *Record) MadeDir(dir string) bool {
	for d := dir; d != "/" && d != "."; d = filepath.Dir(d) {
		if slices.Contains(r.Dirs, d) {
			return true
		}
	}
	return false
}

// Made says whether a file is of the record.
func (r *Record) Made(file string) bool { return slices.Contains(r.Files, file) }

// MakeCgroup makes a cgroup in every hierarchy. In version 1, cpuset's is of
// no use until it has processors and memory.
func MakeCgroup(path string) error {
	hierarchies := []string{"/sys/fs/cgroup"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		if hierarchies, err = filepath.Glob("/sys/fs/cgroup/*"); err != nil {
			return err
		}
	}
	for _, h := range hierarchies {
		if target, err := filepath.EvalSymlinks(h); err != nil || target != h {
			continue // cpu,cpuacct and the like are reached by their own names
		}
		dir := filepath.Join(h, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cgroup %s: %w", dir, err)
		}
		// All pods of the node together would weigh as much as one other process
		// of the machine: etcd starves beside a compiler.
		for f, weight := range map[string]string{"cpu.shares": "16384", "cpu.weight": "1600"} {
			if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, f), []byte(weight), 0o644); err != nil {
				return err
			}
		}
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			raw, err := os.ReadFile(filepath.Join(h, f))
			if err != nil || filepath.Base(h) != "cpuset" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, f), bytes.TrimSpace(raw), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
