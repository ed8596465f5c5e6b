package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// isMount reports whether something is mounted at path.
func isMount(path string) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &st); err != nil {
		return false, &fs.PathError{Op: "statx", Path: path, Err: err}
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// tmpfs mounts memory at dir, unless that has been done; size in bytes, 0 is
// the kernel's default of half the memory.
func tmpfs(dir string, size int64) error {
	if on, err := isMount(dir); err != nil || on {
		return err
	}
	options := ""
	if size > 0 {
		options = "size=" + strconv.FormatInt(size, 10)
	}
	// What is in memory must not end up on a disk; old kernels can't promise.
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, strings.TrimPrefix(options+",noswap", ","))
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, options)
	}
	if err != nil {
		return fmt.Errorf("mount tmpfs at %s: %w", dir, err)
	}
	return nil
}

// bind mounts from at to, which is made; it does nothing when something is
// mounted there.
func bind(from, to string) error {
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err
	}
	if on, err := isMount(to); err != nil || on {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	return nil
}

// mountsBelow are the mount points at dir and below, deepest first; one that
// is mounted over several times is there as often.
func mountsBelow(dir string) ([]string, error) {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(raw), dir), nil
}

// parseMounts reads the table of mounts: the fifth field is where.
func parseMounts(table, dir string) []string {
	var out []string
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		at := unescape(fields[4])
		if at == dir || strings.HasPrefix(at, dir+"/") {
			out = append(out, at)
		}
	}
	// Later ones may be on top of earlier ones.
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	return out
}

// unescape undoes the kernel's \040 for a blank and the like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unmountBelow unmounts everything at dir and below.
func unmountBelow(dir string) error {
	at, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range at {
		if err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// clear reports that nothing is mounted at dir or below. It asks about every
// file, which is cheaper than the table of all mounts of a node that is full;
// where the kernel can't say, or something is strange, the answer is no.
func clear(dir string) bool {
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st); err != nil {
			return err
		}
		if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
			return fs.ErrInvalid
		}
		return nil
	})
	return err == nil
}

// remove removes a directory with all in it, after making sure that nothing
// is mounted there: what is behind a mount is not ours to remove.
func remove(dir string) error {
	dir = filepath.Clean(dir)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if clear(dir) {
		return os.RemoveAll(dir)
	}
	if err := unmountBelow(dir); err != nil {
		return err
	}
	left, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("%s is not removed: %s is still mounted", dir, left[0])
	}
	return os.RemoveAll(dir)
}
