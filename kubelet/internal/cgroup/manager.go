package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Manager has the groups of this node.
type Manager struct {
	o Options
	t *tree

	mu      sync.Mutex
	applied map[string]string // guarded by mu: the last limit by path
}

// New looks at what the kernel offers; it changes nothing.
func New(o Options) (*Manager, error) {
	switch o.Driver {
	case "":
		o.Driver = Cgroupfs
	case Cgroupfs, Systemd:
	default:
		return nil, fmt.Errorf("cgroupDriver %q is neither %q nor %q", o.Driver, Cgroupfs, Systemd)
	}
	if o.PageSizes == nil {
		o.PageSizes = pageSizes()
	}
	t, err := open(o.Mount)
	if err != nil {
		return nil, err
	}
	m := &Manager{o: o, t: t, applied: map[string]string{}}
	if root := o.Root; root != "" && root != "/" && !t.exists(m.rootPath()) {
		return nil, fmt.Errorf("the control group %s (cgroupRoot) does not exist: make it, or leave the option out", root)
	}
	return m, nil
}

func (m *Manager) rootPath() string {
	o := m.o
	o.NoQOS = true
	return o.Path("", "")
}

// Version is that of the kernel's interface, 1 or 2.
func (m *Manager) Version() int { return m.t.version() }

// Driver is the one in use.
func (m *Manager) Driver() string { return m.o.Driver }

// Swap reports whether the kernel counts swap.
func (m *Manager) Swap() bool {
	name := "memory.memsw.limit_in_bytes"
	if m.Version() == 2 {
		name = "memory.swap.max"
	}
	_, err := os.Stat(filepath.Join(m.t.dir("memory", m.o.Path("", "")), name))
	return err == nil
}

// Container is the function of that name with what the manager knows.
func (m *Manager) Container(o ContainerOptions) ContainerOptions {
	o.Options, o.Version, o.Swap = m.o, m.Version(), m.Swap()
	return o
}

// Setup makes the groups of all pods and of the classes.
func (m *Manager) Setup() error {
	if m.o.NoQOS {
		return nil
	}
	return m.UpdateQOS(nil)
}

// UpdateQOS brings the classes' groups in line with the pods that are.
func (m *Manager) UpdateQOS(pods []*corev1.Pod) error {
	if m.o.NoQOS {
		return nil
	}
	limits := m.o.ClassLimits(pods)
	for _, class := range []string{"", burstableClass, bestEffortClass} {
		path := m.o.Path(class, "")
		if m.is(path, limits[class]) {
			continue // it is there as long as the node lives
		}
		if err := m.make(path, limits[class]); err != nil {
			return err
		}
	}
	return nil
}

// Parent is the group of a pod in the form that the runtime wants.
func (m *Manager) Parent(pod *corev1.Pod) string { return m.PodPath(pod) }

// PodPath is where the pod's group is.
func (m *Manager) PodPath(pod *corev1.Pod) string { return m.o.Path(class(pod), pod.UID) }

// ContainerPath is where the runtime puts a container's group.
func (m *Manager) ContainerPath(pod *corev1.Pod, id string) string {
	if m.o.Driver == Systemd {
		return filepath.Join(m.PodPath(pod), "cri-containerd-"+id+".scope")
	}
	return filepath.Join(m.PodPath(pod), id)
}

// Ensure makes the pod's group, or gives one that is there what it gets more of.
func (m *Manager) Ensure(pod *corev1.Pod) error {
	if pod.UID == "" || strings.ContainsAny(string(pod.UID), "/\x00") {
		return fmt.Errorf("the UID %q of pod %s can't name a control group", pod.UID, pod.Name)
	}
	path, limit := m.PodPath(pod), m.o.PodLimit(pod)
	switch there := m.t.exists(path); {
	case !there:
		return m.make(path, limit)
	case m.is(path, limit):
		return nil
	}
	return m.Grow(pod)
}

// is reports whether a group was last given a limit.
func (m *Manager) is(path string, l Limit) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied[path] == l.String()
}

func (m *Manager) make(path string, l Limit) error {
	if err := m.t.make(path); err != nil {
		return fmt.Errorf("make control group %s: %w", path, err)
	}
	return m.set(path, l)
}

// set gives a group that is there a limit.
func (m *Manager) set(path string, l Limit) error {
	if err := m.t.apply(path, l); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied[path] = l.String()
	return nil
}

// Pods are the pods that have a group, known or not.
func (m *Manager) Pods() ([]types.UID, error) {
	var out []types.UID
	seen := map[types.UID]bool{}
	for uid := range m.podDirs() {
		if !seen[uid] {
			seen[uid] = true
			out = append(out, uid)
		}
	}
	return out, nil
}

// classes may each have a group of a pod.
func (m *Manager) classes() []string {
	if m.o.NoQOS {
		return []string{""}
	}
	return []string{"", burstableClass, bestEffortClass}
}

// podDirs are the paths of pods' groups by UID; there may be several, of a
// pod whose class has been computed differently once.
func (m *Manager) podDirs() map[types.UID][]string {
	out := map[types.UID][]string{}
	for _, class := range m.classes() {
		at := m.o.Path(class, "")
		for _, dir := range m.t.dirs(at) {
			entries, err := os.ReadDir(dir)
			if err != nil {
				continue
			}
			for _, e := range entries {
				if uid, ok := m.o.uid(e.Name()); ok && e.IsDir() {
					out[uid] = append(out[uid], filepath.Join(at, e.Name()))
				}
			}
		}
	}
	return out
}

// removeTries bounds how long Remove waits for killed processes.
const (
	removeTries = 50
	removePause = 20 * time.Millisecond
)

// Remove removes a pod's group and kills what is left in it.
func (m *Manager) Remove(ctx context.Context, uid types.UID) error {
	if uid == "" || strings.ContainsAny(string(uid), "/\x00") {
		return fmt.Errorf("the UID %q can't name a control group", uid)
	}
	for _, class := range m.classes() {
		path := m.o.Path(class, uid)
		if !m.t.any(path) {
			continue
		}
		if err := m.removeGroup(ctx, path); err != nil {
			return err
		}
		m.mu.Lock()
		delete(m.applied, path)
		m.mu.Unlock()
	}
	return nil
}

func (m *Manager) removeGroup(ctx context.Context, path string) error {
	var err error
	for range removeTries {
		if err = m.removeDirs(path); err == nil {
			return nil
		}
		for _, pid := range m.Processes(path) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone is well
		}
		select {
		case <-time.After(removePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("remove control group %s: %w", path, err)
}

func (m *Manager) removeDirs(path string) error {
	var errs []error
	for _, dir := range m.t.dirs(path) {
		errs = append(errs, removeTree(dir))
	}
	return errors.Join(errs...)
}

// removeTree removes groups from the leaves up: a group is a directory whose
// files can't be removed.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	err = syscall.Rmdir(dir)
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

// Processes are those in a group and below.
func (m *Manager) Processes(path string) []int {
	var out []int
	seen := map[int]bool{}
	for _, root := range m.t.dirs(path) {
		_ = filepath.WalkDir(root, func(dir string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return nil // gone meanwhile
			}
			raw, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				return nil
			}
			for _, f := range strings.Fields(string(raw)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 0 && !seen[pid] {
					seen[pid] = true
					out = append(out, pid)
				}
			}
			return nil
		})
	}
	return out
}

// RemovePath removes a group and all below, and kills what is left in it.
func (m *Manager) RemovePath(ctx context.Context, path string) error {
	if path == "" || filepath.Clean(path) == "/" {
		return errors.New("the root of the control groups can't be removed")
	}
	return m.removeGroup(ctx, path)
}

// AllPods is the group that all pods are below.
func (m *Manager) AllPods() string { return m.o.Path("", "") }

// Classes are the groups of the classes of service.
func (m *Manager) Classes() []string {
	if m.o.NoQOS {
		return nil
	}
	return []string{m.o.Path(burstableClass, ""), m.o.Path(bestEffortClass, "")}
}

// Make makes a group and those above it, without limits.
func (m *Manager) Make(path string) error { return m.t.make(path) }
