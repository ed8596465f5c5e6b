package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// Usage is what a volume takes.
type Usage struct {
	Name string
	// Claim, when not "", is the claim's name; its namespace is the pod's.
	Claim string
	// Ephemeral: it is on the node's disk and counts as ephemeral storage.
	Ephemeral bool
	// UsedBytes and UsedInodes of the volume; the others of its file system.
	UsedBytes, CapacityBytes, AvailableBytes uint64
	UsedInodes, Inodes, FreeInodes           uint64
}

// Usage measures the volumes of a pod. What is on the node's disk is walked,
// so it should not be asked for too often.
func (m *Manager) Usage(pod *corev1.Pod) []Usage {
	s := m.known(pod.UID)
	if s == nil {
		return nil
	}
	s.busy.Lock()
	type target struct {
		u    Usage
		path string
	}
	var targets []target
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.HostPath != nil || v.Image != nil || s.pod == nil {
			continue // the host's and the runtime's
		}
		p, err := m.place(s, v)
		if err != nil || p.device {
			continue
		}
		u := Usage{Name: v.Name, Ephemeral: v.ConfigMap != nil || v.EmptyDir != nil && v.EmptyDir.Medium == corev1.StorageMediumDefault}
		if v.PersistentVolumeClaim != nil || v.Ephemeral != nil {
			u.Claim = claimName(pod, v)
			if c := s.claims[v.Name]; c != nil && c.volume.Spec.HostPath != nil {
				continue
			}
		}
		targets = append(targets, target{u, p.path})
	}
	s.busy.Unlock() // a walk may take long
	var out []Usage
	for _, t := range targets {
		if err := t.u.measure(t.path); err == nil {
			out = append(out, t.u)
		}
	}
	return out
}

func (u *Usage) measure(path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err
	}
	block := uint64(st.Bsize)
	u.CapacityBytes, u.AvailableBytes = st.Blocks*block, st.Bavail*block
	u.Inodes, u.FreeInodes = st.Files, st.Ffree
	on, err := isMount(path)
	if err != nil {
		return err
	}
	if on && !u.Ephemeral {
		// A file system of its own: it counts itself.
		u.UsedBytes, u.UsedInodes = (st.Blocks-st.Bfree)*block, st.Files-st.Ffree
		return nil
	}
	u.UsedBytes, u.UsedInodes, err = DiskUsage(path)
	return err
}

// DiskUsage adds up what a directory takes on its file system; files with
// several names count once.
func DiskUsage(dir string) (bytes, inodes uint64, err error) {
	root, err := os.Lstat(dir)
	if err != nil {
		return 0, 0, err
	}
	rootStat, ok := root.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, errors.New("no file information of this system")
	}
	linked := map[uint64]bool{}
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if st.Dev != rootStat.Dev {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if st.Nlink > 1 && !e.IsDir() {
			if linked[st.Ino] {
				return nil
			}
			linked[st.Ino] = true
		}
		inodes++
		bytes += uint64(st.Blocks) * 512 // the unit of st_blocks
		return nil
	})
	return bytes, inodes, err
}
