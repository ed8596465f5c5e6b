package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
)

// A pod may change what is in its volumes while the kubelet walks through
// them: a directory can become a link to the host's root between a check and
// a mount. So a subPath is walked by the kernel, below the volume's root, and
// what has been opened is what is mounted, never a name a second time.

// beneath says how paths below a volume are resolved: links may lead about
// within the volume, not out of it.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS

// resolveTries: the kernel gives up when things are renamed during a walk.
const resolveTries = 128

// openBeneath opens a path below the directory root.
func openBeneath(root int, path string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: beneath}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(root, path, &how)
		if (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) && try < resolveTries {
			continue
		}
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

// openSubPath opens what a subPath names, making directories that are
// missing, with the volume's own permissions.
func openSubPath(volume, path string) (int, error) {
	root, err := unix.Open(volume, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: volume, Err: err}
	}
	defer unix.Close(root)
	fd, err := openBeneath(root, path, unix.O_PATH)
	if !errors.Is(err, fs.ErrNotExist) {
		return fd, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(root, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return -1, fmt.Errorf("the volume is not a directory, and has no %s", path)
	}
	return makeBeneath(root, path, st.Mode&0o7777)
}

// makeBeneath makes the directories of a path one by one, each below the one
// that is open.
func makeBeneath(root int, path string, mode uint32) (int, error) {
	done := "."
	for _, name := range strings.Split(filepath.Clean(path), "/") {
		parent, err := openBeneath(root, done, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return -1, err
		}
		err = unix.Mkdirat(parent, name, mode)
		if err == nil {
			// Exact whatever the umask is.
			err = chmodBeneath(parent, name, mode)
		}
		unix.Close(parent)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return -1, fmt.Errorf("make directory %s: %w", filepath.Join(done, name), err)
		}
		done = filepath.Join(done, name)
	}
	return openBeneath(root, done, unix.O_PATH)
}

func chmodBeneath(parent int, name string, mode uint32) error {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fchmod(fd, mode)
}

// subPathDir is where the subPaths of a pod are mounted.
func (m *Manager) subPathDir(pod types.UID) string {
	return filepath.Join(m.PodDir(pod), "volume-subpaths")
}

// mountSubPath mounts what a subPath names to a place of the kubelet's own
// and gives that place.
func (m *Manager) mountSubPath(pod types.UID, volumeName, volume, path, container string, index int) (string, error) {
	fd, err := openSubPath(volume, path)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	target := filepath.Join(m.subPathDir(pod), volumeName, container, strconv.Itoa(index))
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	dir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	same, err := prepareTarget(target, &st, dir)
	if err != nil || same {
		return target, err
	}
	return target, mountFD(fd, target)
}

// prepareTarget makes a place to mount at. same: it is mounted there already.
func prepareTarget(target string, want *unix.Stat_t, dir bool) (same bool, err error) {
	on, err := isMount(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, err
	case on:
		var st unix.Stat_t
		if err := unix.Lstat(target, &st); err != nil {
			return false, err
		}
		if st.Dev == want.Dev && st.Ino == want.Ino {
			return true, nil
		}
		// What the name led to at the last start of the container.
		if err := unmountBelow(target); err != nil {
			return false, err
		}
		fallthrough
	default:
		if err := os.Remove(target); err != nil {
			return false, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return false, err
	}
	if dir {
		return false, os.Mkdir(target, 0o750)
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return false, err
	}
	return false, f.Close()
}

// mountFD mounts what is open.
func mountFD(fd int, target string) error {
	tree, err := unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err == nil {
		defer unix.Close(tree)
		err = unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	} else {
		// An old kernel; the link in /proc is resolved by the kernel too.
		err = unix.Mount("/proc/self/fd/"+strconv.Itoa(fd), target, "", unix.MS_BIND, "")
	}
	if err != nil {
		return fmt.Errorf("mount subPath at %s: %w", target, err)
	}
	return nil
}

// checkSubPath refuses paths that lead out of the volume by themselves.
func checkSubPath(path string) error {
	if filepath.IsAbs(path) {
		return fmt.Errorf("error SubPath `%s` must not be an absolute path", path)
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == ".." {
			return fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", path)
		}
	}
	return nil
}
