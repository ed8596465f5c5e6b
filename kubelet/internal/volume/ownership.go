package volume

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	corev1 "k8s.io/api/core/v1"
)

// Bits that a volume's group gets.
const (
	groupFile = 0o660
	groupDir  = 0o110 | os.ModeSetgid
)

// own gives a writable volume to the pod's group: group and set-group-id bit
// on everything in it, unless only a mismatch of its root calls for that.
func own(dir string, pod *corev1.Pod) error {
	group := fsGroup(pod)
	if group == nil {
		return nil
	}
	if p := pod.Spec.SecurityContext.FSGroupChangePolicy; p != nil && *p == corev1.FSGroupChangeOnRootMismatch && owned(dir, *group) {
		return nil
	}
	// The root last: it says that all below it is done.
	var root fs.FileInfo
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // a container that runs already removed it
			}
			return err
		}
		info, err := e.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		if name == dir {
			root = info
			return nil
		}
		return give(name, info, *group)
	})
	if err != nil || root == nil {
		return err
	}
	return give(dir, root, *group)
}

func owned(dir string, group int64) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	need := os.FileMode(groupFile) | groupDir
	return ok && int64(st.Gid) == group && info.Mode()&need == need
}

func give(name string, info fs.FileInfo, group int64) error {
	err := os.Lchown(name, -1, int(group))
	if os.IsNotExist(err) || info.Mode()&os.ModeSymlink != 0 {
		return nil
	}
	if err != nil {
		return err
	}
	mode := info.Mode() | groupFile
	if info.IsDir() {
		mode |= groupDir
	}
	// Not by name once it may be a link: that would change what it leads to.
	f, err := os.OpenFile(name, syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		if os.IsNotExist(err) || info.Mode()&(os.ModeSocket|os.ModeDevice|os.ModeNamedPipe) != 0 {
			return nil
		}
		return err
	}
	defer f.Close()
	return f.Chmod(mode)
}
