package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
	"sigs.k8s.io/yaml"

	"xebec.dev/deploy/internal/layout"
)

// Undo takes back what the record says, the last first, and forgets it.
func (r *Record) Undo() error {
	if err := r.Restore(); err != nil {
		return err
	}
	return r.Forget()
}

// Restore takes back what the record says, the last first, but for files that
// are to be kept. The record stays: this can be repeated.
func (r *Record) Restore(keep ...string) error {
	var errs []error
	for _, m := range slices.Backward(r.Mounts) {
		errs = append(errs, Unmount(m))
	}
	for name, was := range r.Settings {
		file := filepath.Join("/proc/sys", name)
		if now, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(now)) != was {
			errs = append(errs, os.WriteFile(file, []byte(was), 0o644))
		}
	}
	for _, d := range r.Routes {
		// One that has gone with its address is no failure.
		if out, err := exec.Command("ip", "route", "del", d, "dev", "lo").CombinedOutput(); err != nil && !strings.Contains(string(out), "No such process") {
			errs = append(errs, fmt.Errorf("delete the route to %s: %w: %s", d, err, strings.TrimSpace(string(out))))
		}
	}
	for _, f := range r.Files {
		if slices.Contains(keep, f) {
			continue
		}
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	r.RemoveDirs()
	return errors.Join(errs...)
}

// Forget removes the record, and the directories that are empty then.
func (r *Record) Forget() error {
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.RemoveDirs()
	return nil
}

// RemoveDirs removes the directories that were made and are empty by now.
func (r *Record) RemoveDirs() {
	// Deeper ones first; one that holds what somebody else put there stays.
	slices.SortFunc(r.Dirs, func(a, b string) int { return len(b) - len(a) })
	for _, d := range r.Dirs {
		_ = os.Remove(d)
	}
}

// Unmount unmounts everything at and below a directory.
func Unmount(dir string) error {
	mounts, err := Mounts(dir)
	if err != nil {
		return err
	}
	return unmount(mounts, 0)
}

// UnmountBelow unmounts everything below a directory, which may be a mount
// itself and stays one.
// flags are those of umount2, tried first.
func UnmountBelow(dir string, flags int) error {
	mounts, err := Mounts(dir)
	if err != nil {
		return err
	}
	return unmount(slices.DeleteFunc(mounts, func(m string) bool { return m == dir }), flags)
}

func unmount(mounts []string, flags int) error {
	for _, m := range mounts {
		if err := syscall.Unmount(m, flags); err != nil {
			// Somebody still has it open: it goes when they let go.
			if err := syscall.Unmount(m, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
				return fmt.Errorf("unmount %s: %w", m, err)
			}
		}
	}
	return nil
}

// RemoveTree removes a directory, and never anything through a mount.
func RemoveTree(dir string) error {
	if err := Unmount(dir); err != nil {
		return err
	}
	if left, err := Mounts(dir); err != nil || len(left) > 0 {
		return errors.Join(err, fmt.Errorf("%s is not removed: %s is still mounted", dir, strings.Join(left, ", ")))
	}
	return os.RemoveAll(dir)
}

// Shims are the processes that containerd at an address has started.
func Shims(address string) ([]int, error) {
	return processes(func(args []string) bool {
		if len(args) == 0 || !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") {
			return false
		}
		at := slices.Index(args, "-address")
		return at > 0 && at+1 < len(args) && args[at+1] == address
	})
}

func processes(match func(args []string) bool) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		raw, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil {
			continue // it has ended
		}
		if match(strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")) {
			out = append(out, pid)
		}
	}
	return out, nil
}

// Cgroups are the directories of a cgroup path in every hierarchy.
func Cgroups(path string) []string {
	var out []string
	roots, _ := filepath.Glob("/sys/fs/cgroup/*") // the pattern is good
	for _, h := range append([]string{"/sys/fs/cgroup"}, roots...) {
		dir := filepath.Join(h, path)
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			if dir, err = filepath.EvalSymlinks(dir); err == nil && !slices.Contains(out, dir) {
				out = append(out, dir)
			}
		}
	}
	return out
}

// RemoveCgroup ends every process in a cgroup path and removes it with all
// below it, in every hierarchy.
func RemoveCgroup(path string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		dirs := Cgroups(path)
		if len(dirs) == 0 {
			return nil
		}
		var last error
		for _, dir := range dirs {
			last = errors.Join(last, removeCgroup(dir))
		}
		if last == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return last
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// KubePods is the cgroup of the pods of a kubelet that was given none of its own.
const KubePods = "/kubepods"

// RemoveEmptyCgroup removes a cgroup path with all below it, in every
// hierarchy, and leaves those where a process is.
func RemoveEmptyCgroup(path string) {
	for _, dir := range Cgroups(path) {
		var below []string
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				below = append(below, path)
			}
			return nil // one that has gone is no failure
		})
		for _, d := range slices.Backward(below) {
			_ = syscall.Rmdir(d) // the kernel keeps one that has processes
		}
	}
}

// CgroupProcesses are the processes in a cgroup path and below it, in every
// hierarchy.
func CgroupProcesses(path string) []int {
	var out []int
	for _, dir := range Cgroups(path) {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil // one that has gone is no failure
			}
			raw, _ := os.ReadFile(filepath.Join(path, "cgroup.procs")) // likewise
			for p := range strings.FieldsSeq(string(raw)) {
				// Of a process that this namespace does not see the number is 0.
				if pid, err := strconv.Atoi(p); err == nil && !slices.Contains(out, pid) {
					out = append(out, pid)
				}
			}
			return nil
		})
	}
	return out
}

// Kubelets are the processes of the kubelets whose pods are in KubePods.
func Kubelets() ([]int, error) {
	return processes(func(args []string) bool { return isKubelet(args[0]) && !ownCgroups(args) })
}

// isKubelet says whether a program is a kubelet or has one in it, by the first
// of its words: distributions of a single program have other names, and write
// what they do behind them.
func isKubelet(arg0 string) bool {
	program, _, _ := strings.Cut(arg0, " ")
	return hasPrefix(filepath.Base(program), "kubelet", "kubelite", "hyperkube", "k3s", "k0s", "rke2")
}

// ownCgroups says whether a kubelet was given a place of its own for its pods'
// cgroups; one whose configuration cannot be read was not.
func ownCgroups(args []string) bool {
	var conf struct {
		CgroupRoot string `json:"cgroupRoot"`
	}
	for _, a := range args {
		if file, ok := strings.CutPrefix(a, "--config="); ok {
			raw, err := os.ReadFile(file)
			if err != nil || yaml.Unmarshal(raw, &conf) != nil {
				return false
			}
		}
	}
	return conf.CgroupRoot != "" && conf.CgroupRoot != "/"
}

func removeCgroup(dir string) error {
	var below []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			below = append(below, path)
		}
		return nil // one that has gone is no failure
	})
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(below) {
		raw, err := os.ReadFile(filepath.Join(d, "cgroup.procs"))
		if err != nil {
			continue
		}
		for p := range strings.FieldsSeq(string(raw)) {
			if pid, err := strconv.Atoi(p); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// NodeFiles are the directories that a node fills by itself, kubeadm's reset
// list and ours.
func NodeFiles() []string {
	return []string{layout.Kubernetes + "/manifests", layout.Kubernetes + "/pki", layout.Kubernetes + "/tmp", layout.Kubelet, layout.Etcd,
		layout.PodLogs, layout.ContainerLogs}
}

// RemoveTraces removes what is noted of a node's pods outside of its root: links
// to their logs, and the results of network plugins that runtimes keep.
func RemoveTraces(root layout.Root) error {
	return errors.Join(removeLogLinks(layout.ContainerLogs, root.Path(layout.PodLogs)), removeResults("/var/lib/cni/results", root.Path(State)))
}

// removeLogLinks removes the links of a directory that go below another.
func removeLogLinks(dir, below string) error {
	return eachFile(dir, func(path string) (bool, error) {
		to, err := os.Readlink(path)
		return err == nil && strings.HasPrefix(to, below+"/"), nil
	})
}

// removeResults removes those that name a namespace below a runtime's state.
func removeResults(dir, state string) error {
	return eachFile(dir, func(path string) (bool, error) {
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return bytes.Contains(raw, []byte(`"`+state+`/`)), err
	})
}

// eachFile removes the files of a directory that are chosen.
func eachFile(dir string, chosen func(path string) (bool, error)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // there is none
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		yes, err := chosen(path)
		if err == nil && yes {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Snapshot is what of a machine's network was there at one moment. Pods'
// namespaces are not in it: they are mounts below the runtime's state.
type Snapshot struct {
	Links, Tables []string
}

// Links of the network namespace we are in.
func Links() ([]string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	out := make([]string, len(all))
	for i, l := range all {
		out[i] = l.Name
	}
	return out, nil
}

// PodLink says whether a link is one that pod networks make. A veth is only
// when it is plugged into their bridge: others' containers have veths too.
func PodLink(name string) bool {
	if strings.HasPrefix(name, "veth") {
		bridge, err := os.Readlink(filepath.Join("/sys/class/net", name, "master"))
		return err == nil && PodLink(filepath.Base(bridge))
	}
	return !clusterLink.MatchString(name) && hasPrefix(name, "cni", "xebec", "xb", "kube-", "flannel")
}

// clusterLink is of the links that join the nodes of a cluster in namespaces,
// NAME-br and NAME-nI: those of another cluster are none of this node's, and
// its own are taken away by their names.
var clusterLink = regexp.MustCompile(`^[a-z0-9]{1,6}-(br|n[0-9]{1,3})$`)

func hasPrefix(name string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// Take looks at the machine now.
func Take() (*Snapshot, error) {
	s := &Snapshot{}
	var err error
	if s.Links, err = Links(); err != nil {
		return nil, err
	}
	tables, err := (&nftables.Conn{}).ListTables()
	if err != nil && !unsupported(err) {
		return nil, fmt.Errorf("list the tables of nftables: %w", err)
	}
	for _, t := range tables {
		s.Tables = append(s.Tables, t.Name)
	}
	return s, nil
}

// unsupported says that the kernel has no nftables.
func unsupported(err error) bool {
	return errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.EPROTONOSUPPORT)
}

// Left is what is there now of a node's and was not then. What others have
// made since is theirs.
func (s *Snapshot) Left() ([]string, error) {
	now, err := Take()
	if err != nil || s == nil {
		return nil, err
	}
	return s.left(now), nil
}

func (s *Snapshot) left(now *Snapshot) []string {
	var out []string
	for _, l := range now.Links {
		if !slices.Contains(s.Links, l) && PodLink(l) {
			out = append(out, "link "+l)
		}
	}
	for _, t := range now.Tables {
		if !slices.Contains(s.Tables, t) && hasPrefix(t, "kube-proxy", "xebec") {
			out = append(out, "table of nftables "+t)
		}
	}
	return out
}
